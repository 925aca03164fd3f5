"""Tables are found again by equal keys, and nothing on the disk can stop a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.server.batch_costs.describe import describe_costs
from beyond_serve.server.batch_costs.key import CostKey, cost_key
from beyond_serve.server.batch_costs.store import MOST_TABLES, CostStore

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


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"format": "other"}',
        '{"format": "beyond-serve batch costs 1", "tables": [{}]}',
    ],
)
def test_a_file_that_makes_no_sense_is_as_none(
    model: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(model)
    store.path.write_text(content)
    assert store.load(key_of(model)) is None
    assert len(caplog.records) == 1
    store.save(key_of(model), ENTRIES)
    assert store.load(key_of(model)) == ENTRIES


@pytest.mark.parametrize("ms", ["0", "-1", '"1"', "true", "NaN", "1e400"])
def test_a_time_that_nobody_measured_is_none(model: Path, ms: str) -> None:
    store = store_of(model)
    store.save(key_of(model), ENTRIES)
    text = store.path.read_text()
    store.path.write_text(text.replace("5.5", ms))
    assert store.load(key_of(model)) is None


def test_where_the_folder_cannot_be_written_the_cache_is_used(model: Path) -> None:
    store = store_of(model)
    store.path.mkdir()
    file = store.save(key_of(model), ENTRIES)
    assert file is not None
    assert file.is_relative_to(model.parent / "cache")
    assert store.load(key_of(model)) == ENTRIES


def test_where_nothing_can_be_written_one_line_says_so(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CostStore(model, {"HOME": "nowhere"})
    store.path.mkdir()
    assert store.save(key_of(model), ENTRIES) is None
    assert "the next start measures again" in caplog.text


def test_keys_differ_in_what_changes_a_batch(model: Path) -> None:
    key = key_of(model)
    assert key != replace(key, precision="bf16")
    assert CostKey(**{**key.as_dict(), "image_shape": (2, 2, 3)}) == key


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
