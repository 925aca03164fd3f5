"""Who is let in: places, levels, bytes, and deadlines that can be met."""

from __future__ import annotations

from beyond_serve.batching import Admission, BatchCost, Batcher, FixedPolicy, Levels, Request
from beyond_serve.batching.batcher import UNTRIED_NS
from beyond_serve.errors import BeyondError, ShuttingDownError
from beyond_serve.server.call import Call
from beyond_serve.server.entrance import Entrance
from tests.fakes.batching import FakeInstance
from tests.fakes.clock import FakeClock

MS = 1_000_000


class Watcher:
    """Hears of calls; the end of a call is what is asserted."""

    def call_replied(self, call: Call) -> None:
        raise AssertionError("nothing is replied here")

    def call_cancelled(self, call: Call) -> None: ...


class World:
    def __init__(self, *, capacity: int = 10, max_bytes: int = 1000, timeout_us: int = 0) -> None:
        self.clock = FakeClock()
        self.admission = Admission(capacity, Levels(3), max_bytes)
        cost = BatchCost(4, {1: 2.0 * MS, 4: 5.0 * MS})
        self.batcher = Batcher(FixedPolicy(), self.admission, self.clock, max_batch=4, cost=cost)
        self.entrance = Entrance("vit", self.admission, self.batcher, self.clock, timeout_us)
        self.ended: list[Call] = []

    def come(self, *payloads: bytes, timeout_us: int = 0, priority: int = 0) -> list[Request]:
        call = Call(self.ended.append, Watcher())
        now_ns = self.clock.now_ns()
        requests = self.entrance.requests(
            payloads, "image", call, (now_ns, now_ns), (0, timeout_us, priority)
        )
        call.expect(requests)
        self.entrance.admit(requests, len)
        return requests

    def busy(self) -> FakeInstance:
        """One instance that has just begun a batch of one."""
        instance = FakeInstance("i", self.batcher, self.clock)
        self.batcher.instance_ready(instance)
        for request in self.come(b"first"):
            self.batcher.enqueue(request)
        self.clock.settle()
        assert instance.running is not None
        return instance


def error_of(request: Request) -> BeyondError:
    assert request.error is not None
    return request.error


def test_a_request_takes_a_place_and_its_bytes_and_gives_them_back() -> None:
    world = World()
    (request,) = world.come(b"12345")
    assert (world.admission.waiting, world.admission.held_bytes) == (1, 5)
    request.cancel()
    assert (world.admission.waiting, world.admission.held_bytes) == (0, 0)


def test_what_does_not_fit_is_refused_whole() -> None:
    world = World(capacity=2)
    world.come(b"1")
    refused = world.come(b"2", b"3")
    assert {error_of(request).code for request in refused} == {"queue_full"}
    assert (world.admission.waiting, world.admission.held_bytes, len(world.ended)) == (1, 1, 1)


def test_bytes_are_a_limit_of_their_own_and_one_large_request_may_pass_alone() -> None:
    world = World(max_bytes=10)
    (large,) = world.come(b"x" * 50)
    assert not large.done
    (refused,) = world.come(b"y")
    assert "--max-queue-mb" in (error_of(refused).hint or "")
    large.cancel()
    assert not world.come(b"y")[0].done


def test_more_images_than_the_queue_holds_are_no_matter_of_waiting() -> None:
    (first, *_) = World(capacity=2).come(b"1", b"2", b"3")
    assert error_of(first).code == "invalid_request"


def test_a_closed_entrance_says_why() -> None:
    world = World()
    world.entrance.refusal = ShuttingDownError("going")
    assert error_of(world.come(b"1")[0]).message == "going"


def test_levels_have_places_of_their_own() -> None:
    world = World(capacity=10)
    for _ in range(9):
        world.come(b"1", priority=3)
    assert error_of(world.come(b"1", priority=3)[0]).code == "queue_full"
    assert not world.come(b"1")[0].done
    assert error_of(world.come(b"1")[0]).code == "queue_full"
    urgent = world.come(b"1", priority=1)[0]
    assert not urgent.done
    assert (urgent.level, urgent.handicap_ns) == (1, -1_000_000_000)


def test_the_models_own_timeout_holds_for_those_that_bring_none() -> None:
    world = World(timeout_us=3000)
    now_ns = world.clock.now_ns()
    assert world.come(b"1")[0].deadline_ns == now_ns + 3 * MS
    assert world.come(b"1", timeout_us=1000)[0].deadline_ns == now_ns + MS


def test_a_waiting_request_is_told_at_its_deadline() -> None:
    world = World(timeout_us=3000)
    (request,) = world.come(b"1")
    world.clock.advance(3 * MS)
    assert error_of(request).code == "deadline_exceeded"


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    world = World()
    world.busy()
    # The running batch takes 2 ms more, then one of its own 2 ms.
    (hopeless,) = world.come(b"1", timeout_us=3999)
    assert world.entrance.refuse_late(hopeless)
    assert "cannot be met: 4.0 ms are left" in error_of(hopeless).message
    (served,) = world.come(b"1", timeout_us=4000)
    assert not world.entrance.refuse_late(served)


def test_those_ahead_count_and_those_of_lower_levels_do_not() -> None:
    world = World()
    world.busy()
    for _ in range(4):
        world.come(b"1", priority=2)
    # 2 ms running, 5 ms for the four ahead, 2 ms of its own.
    (hopeless,) = world.come(b"1", timeout_us=8999)
    assert world.entrance.refuse_late(hopeless)
    (served,) = world.come(b"1", timeout_us=9000)
    assert not world.entrance.refuse_late(served)
    served.cancel()
    (urgent,) = world.come(b"1", timeout_us=4000, priority=1)
    assert not world.entrance.refuse_late(urgent)


def test_without_a_deadline_nothing_is_forecast() -> None:
    world = World()
    world.busy()
    assert not world.entrance.refuse_late(world.come(b"1")[0])


def test_after_a_long_rest_one_is_let_through_to_see_whether_the_costs_are_right() -> None:
    world = World()
    world.busy().complete()
    world.clock.advance(UNTRIED_NS)
    (request,) = world.come(b"1", timeout_us=1)
    assert not world.entrance.refuse_late(request)
