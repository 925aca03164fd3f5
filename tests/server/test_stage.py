"""Decode on credit: slots bound what is in flight, models take turns, nobody is forgotten."""

from __future__ import annotations

import pytest

from beyond_serve.batching import Admission, Request, Trace
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import DeadlineExceededError, ImageDecodeError, ShuttingDownError
from beyond_serve.preprocess.decode_cost import working_bytes
from beyond_serve.preprocess.header import ImageHeader
from beyond_serve.preprocess.image_pool import Job, Stamps
from beyond_serve.server.stage import ImageLine, PreprocessStage
from tests.fakes.batching import Ended
from tests.fakes.clock import FakeClock

MS = 1_000_000
STAMPS = Stamps(10, 20, 30)
HEADER = ImageHeader("bmp", 10, 10, 3, 8, progressive=False, orientation=1, colour="rgb")


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
    def __init__(
        self, *, slots: int = 4, lines: int = 1, workers: int = 1, memory_bytes: int = 1 << 40
    ) -> None:
        self.clock, self.pool, self.ended = FakeClock(), FakePool(), Ended()
        self.admission = Admission(100)
        self.stage = PreprocessStage(self.pool, workers, self.clock, memory_bytes)  # type: ignore[arg-type]
        self.ready: list[Request] = []
        self.arenas = [SlotArena(slots, (2, 2, 3)) for _ in range(lines)]
        self.lines = [
            self.stage.line(name, arena, self.ready.append) for name, arena in enumerate(self.arenas)
        ]  # type: ignore[arg-type]

    def enqueue(
        self, *payloads: object, line: int = 0, deadline_ns: int | None = None, handicap_ns: int = 0
    ) -> list[Request]:
        requests = []
        for payload in payloads:
            request = Request(payload, "image", Trace(0, 0), self.ended, deadline_ns)
            request.handicap_ns = handicap_ns
            request.header = HEADER
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
    assert (trace.decode_started, trace.decoded, trace.transformed) == STAMPS[:3]


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
    names = [f"image {number}" for number in range(50)]
    world.enqueue(*names)
    assert payloads(world) == names[:8]


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


def test_a_better_level_is_decoded_first() -> None:
    world = World(slots=1)
    world.enqueue("decoding", "ordinary")
    world.enqueue("urgent", handicap_ns=-1_000_000_000)
    world.finish()
    world.ready[0].slot.free()  # type: ignore[union-attr]
    world.clock.settle()
    assert payloads(world) == ["urgent"]


def test_an_image_whose_deadline_cannot_be_met_is_given_up_undecoded() -> None:
    world = World(slots=1)
    line: ImageLine = world.lines[0]
    line.least_batch_ns = lambda: 5 * MS
    now_ns = world.clock.now_ns()
    world.enqueue("decoding")
    (hopeless,) = world.enqueue("hopeless", deadline_ns=now_ns + 5 * MS - 1)
    # What decoding takes is learned meanwhile: 20 ns for the first image.
    (served,) = world.enqueue("served", deadline_ns=now_ns + 5 * MS + 1000)
    world.finish()
    world.ready[0].slot.free()  # type: ignore[union-attr]
    world.clock.settle()
    assert isinstance(hopeless.error, DeadlineExceededError)
    assert payloads(world) == ["served"]
    assert not served.done


def test_what_decoding_takes_counts_towards_the_deadline() -> None:
    world = World(slots=1)
    line: ImageLine = world.lines[0]
    line.cost.observe(HEADER, len("image"), 7 * MS)
    now_ns = world.clock.now_ns()
    (hopeless,) = world.enqueue("image", deadline_ns=now_ns + 7 * MS - 1)
    assert isinstance(hopeless.error, DeadlineExceededError)
    world.enqueue("image", deadline_ns=now_ns + 7 * MS)
    assert payloads(world) == ["image"]


def test_no_more_memory_is_taken_than_allowed() -> None:
    need = working_bytes(HEADER)
    world = World(slots=100, workers=4, memory_bytes=3 * need)
    world.enqueue(*"abcdef")
    assert payloads(world) == ["a", "b", "c"]
    world.finish()
    assert payloads(world) == ["b", "c", "d"]
    assert world.stage.held_bytes == 3 * need


def test_an_image_larger_than_the_memory_is_decoded_alone() -> None:
    world = World(slots=100, workers=4, memory_bytes=1)
    world.enqueue("a", "b")
    assert payloads(world) == ["a"]
    world.finish()
    assert payloads(world) == ["b"]


def test_models_get_workers_by_weight() -> None:
    world = World(slots=1000, lines=2)
    world.lines[0].weight = 3.0
    for line in world.lines:
        line.cost.observe(HEADER, len("line 0"), STAMPS.done_ns - STAMPS.started_ns)
    for number in (0, 1):
        world.enqueue(*[f"line {number}"] * 45, line=number)
    decoded = []
    for _ in range(40):
        decoded.append(world.pool.jobs[0].data)
        world.finish()
    assert 27 <= decoded.count("line 0") <= 33


def test_a_model_that_rested_does_not_catch_up() -> None:
    world = World(slots=1000, lines=2)
    world.enqueue(*["busy"] * 60, line=0)
    for _ in range(40):
        world.finish()
    world.enqueue(*["late"] * 20, line=1)
    decoded = []
    for _ in range(20):
        decoded.append(world.pool.jobs[0].data)
        world.finish()
    assert decoded.count("busy") >= 10


def test_the_wait_for_a_worker_follows_from_what_images_cost() -> None:
    world = World(slots=2, workers=2)
    line: ImageLine = world.lines[0]
    assert line.wait_ns(5) == 0
    world.enqueue(*"abcdef")
    line.cost.mean_ns = 4 * MS
    assert line.wait_ns(100) == 12 * MS
    assert line.wait_ns(3) == 6 * MS


def test_predictions_that_nobody_tested_end_no_request() -> None:
    world = World()
    line: ImageLine = world.lines[0]
    line.cost.observe(HEADER, len("image"), 7 * MS)
    line.believed = lambda: False
    world.enqueue("image", deadline_ns=world.clock.now_ns() + 1)
    assert payloads(world) == ["image"]
