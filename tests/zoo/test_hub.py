from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from beyond_serve.zoo.hub import Fetched, Unavailable, fetch, why_unreachable
from tests.zoo.extra import needs_transformers
from tests.zoo.fake_hub import COMMIT, fake_hub

_FILES = {
    "config.json": json.dumps({"model_type": "vit"}).encode(),
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"weights",
}


@pytest.fixture
def closed_port() -> int:
    """Nothing listens there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_a_hub_that_answers_is_reachable() -> None:
    with fake_hub("a/b", _FILES) as endpoint:
        assert why_unreachable(f"{endpoint}/a/b/resolve/main/config.json") is None
        assert why_unreachable(f"{endpoint}/not/there") is None


def test_a_closed_port_is_told_in_one_line(closed_port: int) -> None:
    assert why_unreachable(f"http://127.0.0.1:{closed_port}/x") == "Connection refused"


def test_no_address_and_offline_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_unreachable("file:///etc/passwd") == "HF_ENDPOINT is no http address"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert why_unreachable("http://127.0.0.1:1/x") == "HF_HUB_OFFLINE is set"


@needs_transformers
def test_a_checkpoint_is_fetched_and_then_cached(tmp_path: Path, closed_port: int) -> None:
    with fake_hub("a/b", _FILES) as endpoint:
        found = fetch("a/b", endpoint, tmp_path)
    assert isinstance(found, Fetched)
    assert found.revision == COMMIT
    assert {name: (found.folder / name).read_bytes() for name in _FILES} == _FILES
    assert fetch("a/b", f"http://127.0.0.1:{closed_port}", tmp_path) == found


@needs_transformers
def test_old_weights_do_where_there_are_no_safetensors(tmp_path: Path) -> None:
    files = {"config.json": _FILES["config.json"], "pytorch_model.bin": b"old"}
    with fake_hub("a/b", files) as endpoint:
        found = fetch("a/b", endpoint, tmp_path)
    assert isinstance(found, Fetched)
    assert {path.name for path in found.folder.iterdir()} == set(files)


@needs_transformers
def test_why_there_is_no_checkpoint(tmp_path: Path, closed_port: int) -> None:
    with fake_hub("a/b", {"config.json": b"{}"}) as endpoint:
        no_weights = fetch("a/b", endpoint, tmp_path)
        no_repository = fetch("c/d", endpoint, tmp_path)
    unreachable = fetch("e/f", f"http://127.0.0.1:{closed_port}", tmp_path)
    assert isinstance(no_weights, Unavailable)
    assert "has no weights" in no_weights.message
    assert isinstance(no_repository, Unavailable)
    assert "does not give 'c/d'" in no_repository.message
    assert isinstance(unreachable, Unavailable)
    assert "cannot be reached (Connection refused)" in unreachable.message
    assert all("\n" not in answer.message for answer in (no_weights, no_repository, unreachable))
