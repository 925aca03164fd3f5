"""Instances in this process and the group that replaces them, on a real loop with fake engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from beyond_serve.batching import Admission, Batch, Batcher, FixedPolicy, Request, Trace
from beyond_serve.engines.group import FIRST_BACK_OFF_NS, LONGEST_BACK_OFF_NS, InstanceGroup, back_off_ns
from beyond_serve.engines.instance import InlineInstance, InstanceEvents, RunningInstance, ThreadInstance
from beyond_serve.engines.protocol import tensor_key
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeEngine

KEY = tensor_key((3, 2, 2))


class Events:
    """What an instance reported, awaited one by one."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[tuple[str, object]] = asyncio.Queue()

    def instance_ready(self, instance: RunningInstance) -> None:
        self.reports.put_nowait(("ready", instance.name))

    def batch_done(self, instance: RunningInstance, batch: Batch) -> None:
        self.reports.put_nowait(("done", batch))

    def instance_lost(self, instance: RunningInstance, batch: Batch | None, error: BeyondError) -> None:
        self.reports.put_nowait(("lost", error))


def batch_of(*values: float) -> Batch:
    rows = [np.full((3, 2, 2), value, np.float32) for value in values]
    requests = [Request(row, KEY, Trace(0, 0), lambda _: None, top_k=1) for row in rows]
    return Batch(requests, KEY, "full")


def make(kind: str, engine: FakeEngine, events: InstanceEvents) -> RunningInstance:
    loop = asyncio.get_running_loop()
    if kind == "inline":
        return InlineInstance("i", engine, events)
    return ThreadInstance("i", engine, events, loop, None)


@pytest.mark.parametrize("kind", ["inline", "thread"])
async def test_a_batch_comes_back_with_outputs_top_k_and_stamps(kind: str) -> None:
    engine, events = FakeEngine(), Events()
    instance = make(kind, engine, events)
    instance.start()
    assert await events.reports.get() == ("ready", "i")
    batch = batch_of(3.0, -4.0)
    instance.submit(batch)
    assert await events.reports.get() == ("done", batch)
    assert batch.error is None
    assert batch.outputs.tensors["logits"].tolist() == [[3, -3], [-4, 4]]
    assert batch.outputs.top_indices[:, 0].tolist() == [0, 1]
    timing = batch.timing
    assert 0 < timing.started <= timing.copied_in <= timing.inferred <= timing.copied_out
    assert timing.copied_out <= timing.postprocessed
    instance.close()
    assert engine.contexts[0].closed


@pytest.mark.parametrize("kind", ["inline", "thread"])
async def test_an_engines_exception_fails_the_batch_and_not_the_instance(kind: str) -> None:
    engine, events = FakeEngine(), Events()
    instance = make(kind, engine, events)
    instance.start()
    await events.reports.get()

    def refuse(_: object) -> None:
        raise ValueError("no such luck")

    engine.on_infer = refuse
    broken = batch_of(1.0)
    instance.submit(broken)
    assert await events.reports.get() == ("done", broken)
    assert isinstance(broken.error, EngineError)
    assert "no such luck" in broken.error.message
    engine.on_infer = None
    fine = batch_of(1.0)
    instance.submit(fine)
    await events.reports.get()
    assert fine.error is None
    instance.close()


@pytest.mark.parametrize("kind", ["inline", "thread"])
async def test_a_lost_context_is_reported_with_its_batch(kind: str) -> None:
    engine, events = FakeEngine(), Events()
    instance = make(kind, engine, events)
    instance.start()
    await events.reports.get()

    def die(_: object) -> None:
        raise InstanceLostError("the device fell off")

    engine.on_infer = die
    instance.submit(batch_of(1.0))
    what, error = await events.reports.get()
    assert what == "lost"
    assert isinstance(error, InstanceLostError)


async def test_each_thread_makes_and_uses_its_own_context() -> None:
    engine, events = FakeEngine(), Events()
    loop = asyncio.get_running_loop()
    instances = [ThreadInstance(f"i{n}", engine, events, loop, None) for n in range(2)]
    for instance in instances:
        instance.start()
    for _ in instances:
        await events.reports.get()
    assert engine.threads == {"instance-i0", "instance-i1"}
    for instance in instances:
        instance.close()


class CountingLoop:
    """Passes calls from other threads on, and counts them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._loop = asyncio.get_running_loop()

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: object) -> object:
        self.calls.append(callback.__name__)
        return self._loop.call_soon_threadsafe(callback, *arguments)

    def is_closed(self) -> bool:
        return False


async def test_a_batch_crosses_to_the_loop_once() -> None:
    events, loop = Events(), CountingLoop()
    instance = ThreadInstance("i", FakeEngine(), events, loop, None)  # type: ignore[arg-type]
    instance.start()
    await events.reports.get()
    for size in (1, 4, 8):
        instance.submit(batch_of(*range(size)))
        await events.reports.get()
    instance.close()
    assert loop.calls == ["instance_ready", "batch_done", "batch_done", "batch_done"]


async def test_closing_before_the_start_does_not_wait() -> None:
    make("thread", FakeEngine(), Events()).close()


class ScriptedInstance:
    """An instance that does what the test says."""

    simulated = False
    device = "cpu"

    def __init__(self, name: str, events: InstanceEvents) -> None:
        self.name = name
        self.events = events
        self.batches: list[Batch] = []
        self.closed = False

    def start(self) -> None: ...

    def submit(self, batch: Batch) -> None:
        self.batches.append(batch)

    def prepare_tensors(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class GroupWorld:
    def __init__(self, names: list[str]) -> None:
        self.clock = FakeClock()
        self.batcher = Batcher(FixedPolicy(0), Admission(10), self.clock, max_batch=4)
        self.made: list[ScriptedInstance] = []
        self.group = InstanceGroup(names, self.make, self.batcher, self.clock)
        self.group.start()

    def make(self, name: str, events: InstanceEvents) -> RunningInstance:
        self.made.append(ScriptedInstance(name, events))
        return self.made[-1]

    def run(self, *payloads: object) -> list[Request]:
        requests = [Request(p, "image", Trace(0, 0), lambda _: None) for p in payloads]
        for request in requests:
            self.batcher.enqueue(request)
        self.clock.settle()
        return requests


def test_a_request_fails_with_503_only_when_a_second_instance_is_lost_with_it() -> None:
    world = GroupWorld(["a", "b"])
    world.group.instance_ready(world.made[0])
    (running,) = world.run("x")
    (waiting,) = world.run("y")
    world.group.instance_lost(world.made[0], world.made[0].batches[0], EngineError("boom"))
    assert not running.done
    world.group.instance_ready(world.made[1])
    world.clock.settle()
    world.group.instance_lost(world.made[1], world.made[1].batches[0], EngineError("boom"))
    assert isinstance(running.error, InstanceLostError)
    assert "boom" in running.error.message
    assert not waiting.done
    assert world.group.alive == 0


def test_a_lost_instance_is_restarted_after_the_back_off_and_serves_what_waits() -> None:
    world = GroupWorld(["a"])
    world.group.instance_ready(world.made[0])
    world.group.instance_lost(world.made[0], None, EngineError("boom"))
    (waiting,) = world.run("y")
    world.clock.advance(FIRST_BACK_OFF_NS - 1)
    assert len(world.made) == 1
    world.clock.advance(1)
    assert len(world.made) == 2
    world.group.instance_ready(world.made[1])
    world.clock.settle()
    assert world.made[1].batches[0].requests == [waiting]


def test_back_off_doubles_and_is_bounded() -> None:
    waits = [back_off_ns(losses) for losses in range(1, 12)]
    assert waits[:3] == [FIRST_BACK_OFF_NS, 2 * FIRST_BACK_OFF_NS, 4 * FIRST_BACK_OFF_NS]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_BACK_OFF_NS
    assert back_off_ns(10_000) == LONGEST_BACK_OFF_NS


def test_a_completed_batch_forgives_earlier_losses() -> None:
    world = GroupWorld(["a"])
    world.group.instance_lost(world.made[0], None, EngineError("boom"))
    world.clock.advance(FIRST_BACK_OFF_NS)
    world.group.instance_ready(world.made[1])
    world.run("x")
    batch = world.made[1].batches[0]
    batch.outputs = ["x"]
    world.group.batch_done(world.made[1], batch)
    world.group.instance_lost(world.made[1], None, EngineError("boom"))
    world.clock.advance(FIRST_BACK_OFF_NS)
    assert len(world.made) == 3


def test_an_instance_that_never_comes_up_is_given_up_but_tried_again() -> None:
    world = GroupWorld(["a"])
    for losses in range(1, 4):
        assert not world.group.given_up
        world.group.instance_lost(world.made[-1], None, EngineError("boom"))
        world.clock.advance(back_off_ns(losses))
    assert world.group.given_up
    assert len(world.made) == 4
    world.group.instance_ready(world.made[-1])
    assert not world.group.given_up


def test_a_closed_group_restarts_nothing() -> None:
    world = GroupWorld(["a", "b"])
    for instance in world.made:
        world.group.instance_ready(instance)
    world.group.instance_lost(world.made[0], None, EngineError("boom"))
    assert world.group.close() == world.made[:2]
    world.clock.advance(LONGEST_BACK_OFF_NS)
    assert len(world.made) == 2
