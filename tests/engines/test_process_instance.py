"""Instances in child processes: real children, real kills."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.batching import Batch, Request, Trace
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.load import EngineConfig
from beyond_serve.engines.process_instance import ChildProcess, ProcessInstance
from beyond_serve.engines.protocol import IMAGE, tensor_key
from beyond_serve.engines.shared_rows import SharedArena, attach_arena
from beyond_serve.errors import EngineError, InstanceLostError, ModelLoadError
from tests.engines.test_instances import Events


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    table = tmp_path / "tiny.json"
    table.write_text(json.dumps({"name": "t", "input": [2, 2, 3], "classes": 3, "latency_ms": {"1": 0.1}}))
    return EngineConfig(f"sim:{table}")


class Running:
    """A started process instance and what it reports."""

    def __init__(self, config: EngineConfig) -> None:
        self.events = Events()
        self.arena = SharedArena(4, (2, 2, 3))
        child = ChildProcess("t-0")
        info = child.load(config)
        loop = asyncio.get_running_loop()
        self.instance = ProcessInstance("t-0", config, info, self.events, loop, self.arena, child)

    def image_batch(self, count: int) -> Batch:
        requests = []
        for _ in range(count):
            request = Request(None, IMAGE, Trace(0, 0), lambda _: None, top_k=2)
            request.slot = self.arena.slots.acquire()
            requests.append(request)
        return Batch(requests, IMAGE, "full")

    async def next_report(self) -> tuple[str, object]:
        return await asyncio.wait_for(self.events.reports.get(), 20)

    def close(self) -> None:
        self.instance.close()
        self.arena.close()


async def test_batches_run_in_the_child_and_come_back_stamped(config: EngineConfig) -> None:
    running = Running(config)
    running.instance.start()
    assert await running.next_report() == ("ready", "t-0")
    batch = running.image_batch(3)
    running.instance.submit(batch)
    assert await running.next_report() == ("done", batch)
    assert batch.error is None
    assert batch.outputs.tensors["logits"].shape == (3, 3)
    assert batch.outputs.top_indices.shape == (3, 2)
    assert 0 < batch.timing.started <= batch.timing.inferred <= batch.timing.postprocessed
    key = tensor_key((3, 2, 2))
    rows = [np.zeros((3, 2, 2), np.float32)] * 2
    tensors = Batch([Request(row, key, Trace(0, 0), lambda _: None) for row in rows], key, "full")
    running.instance.submit(tensors)
    assert await running.next_report() == ("done", tensors)
    assert tensors.outputs.tensors["logits"].shape == (2, 3)
    running.close()


async def test_a_child_killed_while_idle_is_reported_without_a_batch_and_once(config: EngineConfig) -> None:
    running = Running(config)
    running.instance.start()
    await running.next_report()
    assert running.instance.pid is not None
    os.kill(running.instance.pid, signal.SIGKILL)
    what, error = await running.next_report()
    assert what == "lost"
    assert isinstance(error, InstanceLostError)
    assert "exit code -9" in error.message
    # Whatever the thread has to say was said before it ended.
    await asyncio.to_thread(running.instance.close)
    await asyncio.sleep(0)
    assert running.events.reports.empty()
    running.arena.close()


async def test_a_child_that_ends_after_its_answer_is_lost_once(config: EngineConfig) -> None:
    running = Running(config)
    running.instance.start()
    await running.next_report()
    batch = running.image_batch(1)
    running.instance.submit(batch)
    child = running.instance._child
    assert child is not None
    # As if the loop heard of the end before it heard of the batch.
    running.instance._child_ended(child)
    assert running.events.reports.empty()
    assert await running.next_report() == ("done", batch)
    assert (await running.next_report())[0] == "lost"
    await asyncio.to_thread(running.instance.close)
    await asyncio.sleep(0)
    assert running.events.reports.empty()
    running.arena.close()


async def test_closing_an_idle_instance_is_no_loss(config: EngineConfig) -> None:
    running = Running(config)
    running.instance.start()
    await running.next_report()
    await asyncio.to_thread(running.instance.close)
    await asyncio.sleep(0)
    assert running.events.reports.empty()
    running.arena.close()


async def test_a_killed_child_is_a_lost_instance_with_its_batch(config: EngineConfig) -> None:
    running = Running(config)
    running.instance.start()
    await running.next_report()
    pid = running.instance.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    running.instance.submit(running.image_batch(1))
    what, error = await running.next_report()
    assert what == "lost"
    assert isinstance(error, InstanceLostError)
    assert "exit code -9" in error.message
    running.close()


async def test_a_child_outlives_no_parent_and_ignores_the_terminals_signals(config: EngineConfig) -> None:
    running = Running(config)
    running.instance.start()
    await running.next_report()
    process = running.instance._child.process  # type: ignore[union-attr]
    assert process.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.pid, number)
    batch = running.image_batch(1)
    running.instance.submit(batch)
    assert await running.next_report() == ("done", batch)
    running.close()
    assert process.exitcode == 0


async def test_what_a_child_cannot_load_is_the_parents_error() -> None:
    child = ChildProcess("t-0")
    with pytest.raises(ModelLoadError, match="nowhere"):
        child.load(EngineConfig("nowhere.onnx"))
    with pytest.raises(EngineError, match="does not know"):
        child.ask("dance")
    child.close()


def test_an_attached_arena_is_the_same_memory() -> None:
    arena = SharedArena(3, (2, 2, 3))
    other = attach_arena(arena.path, 3, (2, 2, 3))
    other.array[2, 1, 1] = 9
    assert arena.slots.array[2, 1, 1].tolist() == [9, 9, 9]
    arena.close()
    with pytest.raises(FileNotFoundError):
        attach_arena(arena.path, 3, (2, 2, 3))


def test_a_child_describes_a_model_that_the_parent_does_not_open(
    config: EngineConfig, tmp_path: Path
) -> None:
    child = ChildProcess("t-0")
    try:
        found = child.describe(config.source, trust_plan=False, device="auto")
        assert found == describe_model(config.source)
        with pytest.raises(ModelLoadError, match="does not exist") as caught:
            child.describe(str(tmp_path / "absent.onnx"), trust_plan=False, device="auto")
        assert caught.value.hint
    finally:
        child.close()
