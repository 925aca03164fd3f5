"""The examples of docs/preprocessing.md run and print what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from beyond_serve.preprocess.native import available

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"```python\n(.*?)```(?:\n+```\n(.*?)```)?", re.DOTALL)


@pytest.mark.skipif(not available(), reason="the examples print what the native core does")
def test_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    examples = EXAMPLE.findall((ROOT / "docs" / "preprocessing.md").read_text())
    assert len(examples) == 7
    names: dict[str, object] = {}
    for code, expected in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == expected
