from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import pytest

from beyond_serve.errors import ModelLoadError
from beyond_serve.zoo.torch_extra import INSTALL, load, quiet, require_all


def test_what_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelLoadError, match="exporting needs torch") as caught:
        require_all("transformers")
    assert caught.value.hint == INSTALL


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision::nms"),
        ("import nothing_of_this_name", "nothing_of_this_name"),
    ],
)
def test_a_broken_installation_is_one_line(
    source: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_extra.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelLoadError, match=complaint) as caught:
        load("broken_extra")
    assert "broken_extra cannot be imported" in caught.value.message
    assert "\n" not in caught.value.message


def test_quiet_keeps_libraries_off_the_terminal_and_gives_everything_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("transformers")
    before = logger.level
    with quiet():
        logger.error("noise")
        warnings.warn("noise", UserWarning, stacklevel=1)
    assert caplog.records == []
    assert logger.level == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)
