"""Tables are found again by equal keys, and nothing on the disk can stop a server."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.server.batch_costs.describe import describe_costs
from beyond_serve.server.batch_costs.key import CostKey, cost_key
from beyond_serve.server.batch_costs.store import MOST_TABLES, CostStore
from tests.server.batch_costs.keys import KEY

INFO = EngineInfo("fake", "fp32", "cpu", (), (), image_shape=(2, 2, 3))
ENTRIES = {1: 2_000_000.0, 4: 5_500_000.0}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "vit.onnx"
    path.write_bytes(b"a model")
    return path


def key_of(model: Path, instances: int = 1) -> CostKey:
    return cost_key(model, INFO, threads=1, instances=instances, instance_kind="thread", max_batch=4)


def store_of(model: Path) -> CostStore:
    return CostStore(model, {"XDG_CACHE_HOME": str(model.parent / "cache")})


def test_what_was_saved_is_found(model: Path) -> None:
    store = store_of(model)
    assert store.save(key_of(model), ENTRIES) == model.with_name("vit.costs.json")
    assert store_of(model).load(key_of(model)) == ENTRIES


def test_other_ways_of_serving_have_tables_of_their_own(model: Path) -> None:
    store = store_of(model)
    store.save(key_of(model, 1), ENTRIES)
    assert store.load(key_of(model, 2)) is None
    store.save(key_of(model, 2), {1: 1.0})
    assert store.load(key_of(model, 1)) == ENTRIES


def test_a_changed_model_is_measured_again(model: Path) -> None:
    store = store_of(model)
    store.save(key_of(model), ENTRIES)
    model.write_bytes(b"another model")
    assert store.load(key_of(model)) is None


def test_tables_do_not_pile_up(model: Path) -> None:
    store = store_of(model)
    for instances in range(1, MOST_TABLES + 4):
        store.save(key_of(model, instances), ENTRIES)
    assert len(store.tables()) == MOST_TABLES
    assert store.load(key_of(model, MOST_TABLES + 3)) == ENTRIES


def test_tables_of_a_files_earlier_content_go_and_those_of_its_namesakes_stay(model: Path) -> None:
    store, key = store_of(model), key_of(model)
    store.save(key, ENTRIES)
    store.save(replace(key, model="vit.xml", content="its own"), ENTRIES)
    store.save(replace(key, content="newer", instances=2), ENTRIES)
    assert [(table.key.model, table.key.content) for table in store.tables()] == [
        ("vit.onnx", "newer"),
        ("vit.xml", "its own"),
    ]


def with_table(model: Path, ms: object, **more: object) -> bytes:
    table = {"key": key_of(model).as_dict(), "ms": ms, **more}
    return json.dumps({"format": "beyond-serve batch costs 1", "tables": [table]}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"format": "other"}',
        b'{"format": "beyond-serve batch costs 1", "tables": {}}',
        b'{"format": "beyond-serve batch costs 1", "tables": [1]}',
        b'{"format": "beyond-serve batch costs 1", "tables": [{}]}',
    ],
)
def test_a_file_that_makes_no_sense_is_as_none(
    model: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(model)
    store.path.write_bytes(content)
    assert store.load(key_of(model)) is None
    assert len(caplog.records) == 1
    assert "are ignored" in caplog.text
    store.save(key_of(model), ENTRIES)
    assert store.load(key_of(model)) == ENTRIES
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("ms", "more"),
    [
        ({}, {}),
        ([1.0], {}),
        ({"0": 1.0}, {}),
        ({"one": 1.0}, {}),
        ({"9" * 5000: 1.0}, {}),
        ({"1": 0}, {}),
        ({"1": -1}, {}),
        ({"1": "1"}, {}),
        ({"1": True}, {}),
        ({"1": float("nan")}, {}),
        ({"1": float("inf")}, {}),
        ({"1": 10**400}, {}),
        ({"1": 1.0}, {"key": None}),
        ({"1": 1.0}, {"key": {"model": "x"}}),
    ],
)
def test_a_table_that_nobody_measured_is_none(model: Path, ms: object, more: dict[str, object]) -> None:
    store = store_of(model)
    store.path.write_bytes(with_table(model, {"1": 1.0}))
    assert store.load(key_of(model)) == {1: 1_000_000.0}
    store.path.write_bytes(with_table(model, ms, **more))
    assert store.load(key_of(model)) is None


def test_where_the_folder_cannot_be_written_the_cache_is_used(model: Path) -> None:
    store = store_of(model)
    store.path.mkdir()
    file = store.save(key_of(model), ENTRIES)
    assert file is not None
    assert file.is_relative_to(model.parent / "cache")
    assert store.load(key_of(model)) == ENTRIES


def test_models_of_one_name_in_two_folders_do_not_share_a_cache_file(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for name in ("a", "b"):
        (tmp_path / name / "vit.costs.json").mkdir(parents=True)
        CostStore(tmp_path / name / "vit.onnx", cache).save(KEY, {1: 1e6 if name == "a" else 2e6})
    assert CostStore(tmp_path / "a" / "vit.onnx", cache).load(KEY) == {1: 1e6}


def test_the_newer_of_two_files_counts(model: Path) -> None:
    store, key = store_of(model), key_of(model)
    store.path.mkdir()
    cached = store.save(key, {1: 1e6})
    store.path.rmdir()
    beside = store.save(key, {1: 2e6})
    assert cached is not None
    assert beside == store.path
    os.utime(cached, ns=(1, 1))
    assert store.load(key) == {1: 2e6}
    os.utime(beside, ns=(0, 0))
    assert store.load(key) == {1: 1e6}


def test_the_cache_is_under_home_unless_named_by_an_absolute_path(model: Path) -> None:
    store = CostStore(model, {"XDG_CACHE_HOME": "relative", "HOME": str(model.parent / "home")})
    store.path.mkdir()
    file = store.save(key_of(model), ENTRIES)
    assert file is not None
    assert file.is_relative_to(model.parent / "home" / ".cache" / "beyond-serve")


def test_where_nothing_can_be_written_one_line_says_so(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CostStore(model, {"HOME": "nowhere"})
    store.path.mkdir()
    assert store.save(key_of(model), ENTRIES) is None
    assert len(caplog.records) == 1
    assert {path.name for path in model.parent.iterdir()} == {"vit.onnx", "vit.costs.json"}
    assert "the next start measures again" in caplog.text


@pytest.mark.parametrize("field", [field.name for field in fields(CostKey)])
def test_keys_that_differ_in_anything_have_different_tables(model: Path, field: str) -> None:
    store = store_of(model)
    store.save(KEY, ENTRIES)
    assert store.load(KEY) == ENTRIES
    changed: dict[str, Any] = {field: "other"}
    assert store.load(replace(KEY, **changed)) is None


def test_describing_says_what_is_there_and_how_it_comes(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(model.parent / "cache"))
    assert "none for this file on this machine yet" in str(next(describe_costs(str(model))))
    store_of(model).save(key_of(model), ENTRIES)
    title, table = describe_costs(str(model))
    assert title == "batch costs: fake fp32 on cpu, 1 instance (thread, 1 threads each), batches up to 4"
    assert not isinstance(table, str)
    assert table.row_count == 3
    assert "not measured" in str(next(describe_costs("null:")))
    assert "simulated" in str(next(describe_costs("sim:t.json")))
