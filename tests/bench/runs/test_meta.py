"""`run.json`: run folders are passed on, so a server's token must not be in them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.meta import without_secrets


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["load", "--token", "abc", "--slo", "5"], ["load", "--token", "(hidden)", "--slo", "5"]),
        (["load", "--token=abc=d", "url"], ["load", "--token=(hidden)", "url"]),
        (["load", "--token"], ["load", "--token"]),
        (["load", "token", "abc"], ["load", "token", "abc"]),
    ],
)
def test_tokens_are_hidden(arguments: list[str], kept: list[str]) -> None:
    assert without_secrets(arguments) == kept


def test_no_file_of_a_run_has_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["beyond-bench", "load", "--token", "s3cret", "--flags", "a b"])
    run = RunFolder.create(tmp_path, "load", {"token": "s3cret", "slo": None, "model": "m"})
    assert b"s3cret" not in (run.path / "run.json").read_bytes()
    read = RunFolder.open(run.path).meta
    assert read.command == "beyond-bench load --token '(hidden)' --flags 'a b'"
    assert dict(read.config) == {"token": "(hidden)", "slo": None, "model": "m"}
    assert RunFolder.create(tmp_path, "load", {"token": ""}).meta.config == {"token": ""}
