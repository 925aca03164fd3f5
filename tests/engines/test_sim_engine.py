from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.engines.sim_engine import SimEngine, SimTable, read_sim_table
from beyond_serve.errors import ModelLoadError
from tests.engines.batches import image_batch, infer, tensor_batch
from tests.engines.models import images

GOOD: dict[str, Any] = {
    "name": "vit-like",
    "input": [224, 224, 3],
    "classes": 1000,
    "latency_ms": {"1": 3.5, "8": 6.8, "32": 18.0},
}
TABLE = SimTable("tiny", (4, 4, 3), 10, ((1, 3.5), (8, 6.8), (32, 18.0)))


class FakeTime:
    """A clock that sleeping moves, `late_ns` further than asked."""

    def __init__(self, late_ns: int = 0) -> None:
        self.now_ns = 1_000
        self.late_ns = late_ns
        self.sleeps: list[float] = []

    def clock(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now_ns += round(seconds * 1e9) + self.late_ns


def write(folder: Path, table: object) -> str:
    path = folder / "table.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return f"sim:{path}"


def test_a_table_is_read(tmp_path: Path) -> None:
    table = read_sim_table(write(tmp_path, GOOD))
    assert table == SimTable("vit-like", (224, 224, 3), 1000, ((1, 3.5), (8, 6.8), (32, 18.0)))


@pytest.mark.parametrize(
    ("batch", "ms"),
    [(1, 3.5), (8, 6.8), (32, 18.0), (4, 3.5 + 3 * 3.3 / 7), (20, 12.4), (33, 18 + 11.2 / 24), (56, 29.2)],
)
def test_latency_is_linear_between_and_beyond(batch: int, ms: float) -> None:
    assert TABLE.latency_ms(batch) == pytest.approx(ms)


def test_one_entry_grows_in_proportion() -> None:
    assert SimTable("one", (4, 4, 3), 2, ((1, 2.0),)).latency_ms(5) == 10.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"name": ""}, "'name' must be"),
        ({"input": [224, 224]}, "'input' must be"),
        ({"input": [224, 224, 1]}, "'input' must be"),
        ({"input": [0, 224, 3]}, "'input' must be"),
        ({"input": [224.0, 224, 3]}, "'input' must be"),
        ({"classes": 0}, "'classes' must be"),
        ({"classes": True}, "'classes' must be"),
        ({"latency_ms": {}}, "'latency_ms' must be"),
        ({"latency_ms": [3.5]}, "'latency_ms' must be"),
        ({"latency_ms": {"8": 3.5}}, "must have the batch size 1"),
        ({"latency_ms": {"1": 0}}, "above 0, not 0"),
        ({"latency_ms": {"1": "3"}}, "above 0, not '3'"),
        ({"latency_ms": {"1": float("nan")}}, "above 0, not nan"),
        ({"latency_ms": {"1": True}}, "above 0, not True"),
        ({"latency_ms": {"1": 3, "one": 3}}, "the batch size 'one'"),
        ({"latency_ms": {"1": 3, "0": 3}}, "the batch size '0'"),
        ({"latency_ms": {"1": 3, "01": 3}}, "the batch size 1 twice"),
        ({"latency_ms": {"1": 3, "4": 2}}, "falls from 3 at batch size 1 to 2 at 4"),
    ],
)
def test_a_wrong_table_is_told_by_its_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelLoadError, match="no table of an emulated accelerator") as caught:
        read_sim_table(write(tmp_path, GOOD | change))
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("key", GOOD)
def test_every_key_is_needed(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelLoadError, match=f"the key '{key}' is missing"):
        read_sim_table(write(tmp_path, {name: value for name, value in GOOD.items() if name != key}))


def test_what_is_no_json_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="not valid JSON"):
        read_sim_table(write(tmp_path, "{"))
    with pytest.raises(ModelLoadError, match="no JSON object"):
        read_sim_table(write(tmp_path, [1]))
    with pytest.raises(ModelLoadError, match="cannot read the table"):
        read_sim_table(f"sim:{tmp_path / 'absent.json'}")
    with pytest.raises(ModelLoadError, match="cannot read the table"):
        read_sim_table("sim:")


@pytest.mark.parametrize(("count", "ms"), [(1, 3.5), (8, 6.8), (40, 18 + 8 * 11.2 / 24)])
def test_a_batch_takes_the_tables_time_in_infer(count: int, ms: float) -> None:
    fake = FakeTime()
    context = SimEngine(TABLE, 8, sleep=fake.sleep, clock=fake.clock).create_context()
    timing = BatchTiming()
    outputs = context.infer(image_batch(images(count, (4, 4))), timing)
    assert timing.inferred - timing.copied_in == round(ms * 1e6)
    assert timing.copied_out == timing.inferred
    assert len(fake.sleeps) == 1
    assert outputs["logits"].shape == (count, 10)
    assert (outputs["logits"].argmax(axis=1) == 0).all()


def test_a_sleep_that_ends_early_is_continued() -> None:
    fake = FakeTime()
    asked: list[float] = []

    def sleep(seconds: float) -> None:
        asked.append(seconds)
        fake.now_ns += 2_000_000

    timing = BatchTiming()
    SimEngine(TABLE, 8, sleep=sleep, clock=fake.clock).create_context().infer(
        image_batch(images(1, (4, 4))), timing
    )
    assert asked == pytest.approx([3.5e-3, 1.5e-3])
    assert timing.inferred - timing.copied_in == 4_000_000


def test_tensors_are_answered_and_results_cannot_be_spoilt() -> None:
    fake = FakeTime()
    engine = SimEngine(TABLE, 2, sleep=fake.sleep, clock=fake.clock)
    engine.prepare_tensors()
    outputs = infer(engine.create_context(), tensor_batch(np.zeros((2, 3, 4, 4), np.float32)))
    with pytest.raises(ValueError, match="read-only"):
        outputs["logits"][0, 0] = 5


def test_it_says_that_it_is_simulated() -> None:
    info = SimEngine(TABLE, 2).info
    assert info.simulated
    assert "tiny" in info.device
    assert SimEngine(TABLE, 2, "cpu").info.device == info.device
    assert "simulated" in info.warnings[0]
    assert not info.inline


def test_several_emulated_devices_are_told_apart(tmp_path: Path) -> None:
    source = write(tmp_path, GOOD)
    devices = [load_engine(EngineConfig(source, device=f"sim:{number}")).info.device for number in (0, 1)]
    assert devices == ["sim:0", "sim:1"]
