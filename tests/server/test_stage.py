"""Decode on credit: slots bound what is in flight, models take turns, nobody is forgotten."""

from __future__ import annotations

import pytest

from beyond_serve.batching import Admission, Request, Trace
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import ImageDecodeError, ShuttingDownError
from beyond_serve.preprocess.image_pool import Job, Stamps
from beyond_serve.server.stage import ImageLine, PreprocessStage
from tests.fakes.batching import Ended
from tests.fakes.clock import FakeClock

STAMPS = Stamps(10, 20, 30)


class FakePool:
    """Keeps jobs until the test ends them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.error: Exception | None = None

    def submit(self, job: Job) -> None:
        if self.error is not None:
            raise self.error
        self.jobs.append(job)

    def finish(self, error: BaseException | None = None) -> None:
        self.jobs.pop(0).done(None if error else STAMPS, error)


class World:
    def __init__(self, *, slots: int = 4, lines: int = 1, workers: int = 1) -> None:
        self.clock, self.pool, self.ended = FakeClock(), FakePool(), Ended()
        self.admission = Admission(100)
        self.stage = PreprocessStage(self.pool, workers, self.clock.call_soon)  # type: ignore[arg-type]
        self.ready: list[Request] = []
        self.arenas = [SlotArena(slots, (2, 2, 3)) for _ in range(lines)]
        self.lines = [
            self.stage.line(name, arena, self.ready.append) for name, arena in enumerate(self.arenas)
        ]  # type: ignore[arg-type]

    def enqueue(self, *payloads: object, line: int = 0) -> list[Request]:
        requests = []
        for payload in payloads:
            request = Request(payload, "image", Trace(0, 0), self.ended)
            self.admission.enter()
            request.admission = self.admission
            requests.append(request)
            self.lines[line].enqueue(request)
        self.clock.settle()
        return requests

    def finish(self, error: BaseException | None = None) -> None:
        self.pool.finish(error)
        self.clock.settle()


def payloads(world: World) -> list[object]:
    return [job.data for job in world.pool.jobs]


def test_an_image_is_decoded_into_its_slot_and_stamped() -> None:
    world = World()
    (request,) = world.enqueue("a")
    world.finish()
    assert world.ready == [request]
    assert request.slot is not None
    assert request.payload is None
    trace = request.trace
    assert (trace.decode_started, trace.decoded, trace.transformed) == STAMPS


def test_no_more_images_are_in_flight_than_slots() -> None:
    world = World(slots=2)
    world.enqueue("a", "b", "c")
    assert payloads(world) == ["a", "b"]
    world.finish()
    assert payloads(world) == ["b"]
    world.ready[0].slot.free()  # type: ignore[union-attr]
    world.clock.settle()
    assert payloads(world) == ["b", "c"]


def test_the_pool_is_not_handed_more_than_keeps_it_busy() -> None:
    world = World(slots=100)
    world.enqueue(*range(50))
    assert payloads(world) == list(range(8))


def test_models_take_turns() -> None:
    world = World(slots=100, lines=2)
    world.enqueue(*["big"] * 20, line=0)
    world.enqueue("small", line=1)
    for _ in range(2):
        world.finish()
    assert "small" in payloads(world)


def test_a_bad_image_fails_alone_and_frees_its_slot() -> None:
    world = World(slots=1)
    bad, good = world.enqueue("bad", "good")
    world.finish(ImageDecodeError("no"))
    assert isinstance(bad.error, ImageDecodeError)
    world.finish()
    assert world.ready == [good]


def test_a_foreign_error_is_translated() -> None:
    world = World()
    (request,) = world.enqueue("a")
    world.finish(ZeroDivisionError("inside"))
    assert isinstance(request.error, ImageDecodeError)
    assert "inside" in request.error.message


def test_a_pool_that_refuses_a_job_costs_neither_a_slot_nor_a_client() -> None:
    world = World(slots=1)
    world.pool.error = ValueError("no such size")
    (refused,) = world.enqueue("a")
    assert isinstance(refused.error, ImageDecodeError)
    assert world.arenas[0].free_count == 1
    world.pool.error = None
    (served,) = world.enqueue("b")
    world.finish()
    assert world.ready == [served]


def test_who_left_while_waiting_is_not_decoded() -> None:
    world = World(slots=1)
    _, gone, stays = world.enqueue("a", "gone", "stays")
    gone.cancel()
    world.finish()
    world.ready[0].slot.free()  # type: ignore[union-attr]
    world.clock.settle()
    assert payloads(world) == ["stays"]
    assert stays.slot is None


def test_who_left_while_being_decoded_gives_its_slot_back_afterwards() -> None:
    world = World(slots=1)
    (gone,) = world.enqueue("gone")
    gone.cancel()
    assert world.arenas[0].free_count == 0
    world.finish()
    assert world.arenas[0].free_count == 1
    assert world.ready == []
    assert world.ended.requests == []


def test_failing_what_waits_leaves_what_is_being_decoded() -> None:
    world = World(slots=1)
    _, waits = world.enqueue("decoding", "waits")
    line: ImageLine = world.lines[0]
    line.fail_waiting(ShuttingDownError("stop"))
    assert isinstance(waits.error, ShuttingDownError)
    world.finish()
    assert len(world.ready) == 1


@pytest.mark.parametrize("lines", [1, 3])
def test_a_closed_line_takes_no_part(lines: int) -> None:
    world = World(lines=lines)
    world.lines[0].close()
    if lines > 1:
        world.enqueue("a", line=1)
        assert payloads(world) == ["a"]
