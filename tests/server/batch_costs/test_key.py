from __future__ import annotations

import os
from pathlib import Path

import pytest

from beyond_serve.engines.cuda.probe import Driver
from beyond_serve.server import device_list
from beyond_serve.server.batch_costs import key as module
from beyond_serve.server.batch_costs.key import (
    CostKey,
    content_of,
    cost_key,
    is_current,
    key_from,
    kind_of_device,
    model_file,
)
from tests.fakes.engines import INFO
from tests.server.batch_costs.keys import KEY, key


def current(path: Path) -> CostKey:
    return cost_key(path, INFO, threads=2, instances=1, instance_kind="thread", max_batch=8)


def test_a_key_survives_its_own_words() -> None:
    assert key_from(KEY.as_dict()) == KEY


@pytest.mark.parametrize("change", [{"more": 1}, {"image_shape": 3}])
def test_other_words_are_no_key(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="fields"):
        key_from({**KEY.as_dict(), **change})


def test_small_files_are_known_by_content_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"weights")
        os.utime(tmp_path / name, ns=(1, len(name)))
    (tmp_path / "c").write_bytes(b"Weights")
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b")
    assert content_of(tmp_path / "a") != content_of(tmp_path / "c")


def test_large_files_are_known_by_place_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HASHED_BYTES", 3)
    file = tmp_path / "a"
    file.write_bytes(b"weights")
    before = content_of(file)
    assert before == content_of(file)
    os.utime(file, ns=(1, 1))
    assert content_of(file) != before


def test_a_key_is_current_until_the_file_or_the_machine_changes(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    made = current(file)
    assert is_current(made, "model.onnx", content_of(file))
    assert not is_current(made, "model.xml", content_of(file))
    file.write_bytes(b"others")
    assert not is_current(made, "model.onnx", content_of(file))
    assert not is_current(key(content=content_of(file)), "model.onnx", content_of(file))


@pytest.mark.parametrize(
    ("devices", "kind"),
    [
        ("cpu", "cpu"),
        ("cuda:0", "NVIDIA H200"),
        ("cuda:2", "NVIDIA L4"),
        ("cuda:0,cuda:1", "2 x NVIDIA H200"),
        ("cuda:0,cuda:2", "NVIDIA H200, NVIDIA L4"),
        ("cuda:2,cuda:0", "NVIDIA H200, NVIDIA L4"),
        ("cuda:5", "cuda:5"),
        ("sim:0,sim:1", "sim:0, sim:1"),
    ],
)
def test_a_table_belongs_to_the_card_and_not_to_its_number(
    monkeypatch: pytest.MonkeyPatch, devices: str, kind: str
) -> None:
    cards = Driver(("NVIDIA H200", "NVIDIA H200", "NVIDIA L4"), "")
    monkeypatch.setattr(device_list, "driver", lambda: cards)
    assert kind_of_device(devices) == kind


def test_a_file_that_is_gone_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        current(tmp_path / "gone.onnx")


@pytest.mark.parametrize(
    ("source", "file"),
    [("null:", None), ("null:224", None), ("sim:t.json", Path("t.json")), ("m.onnx", Path("m.onnx"))],
)
def test_the_file_behind_a_source(source: str, file: Path | None) -> None:
    assert model_file(source) == file
