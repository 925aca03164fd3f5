"""`Batcher.wait_ns`: what a new request has to expect."""

from __future__ import annotations

from beyond_serve.batching import Admission, ArrivalRate, BatchCost, Batcher, FixedPolicy
from tests.fakes.batching import Ended, FakeInstance, make_request
from tests.fakes.clock import FakeClock

MS = 1_000_000


class World:
    """Instances of l(n) = 2 + n ms, batches of at most 4."""

    def __init__(self, instances: int = 1) -> None:
        self.clock = FakeClock()
        cost = BatchCost(4, {1: 3 * MS, 4: 6 * MS})
        self.batcher = Batcher(FixedPolicy(), Admission(100), self.clock, max_batch=4, cost=cost)
        for number in range(instances):
            self.batcher.instance_ready(FakeInstance(f"i{number}", self.batcher, self.clock))
        self.clock.settle()

    def run(self, size: int) -> None:
        for number in range(size):
            self.batcher.enqueue(make_request(number, self.clock, Ended()))
        self.clock.settle()


def test_nothing_is_expected_while_the_costs_are_unknown_or_no_instance_is_there() -> None:
    world = World(instances=0)
    assert world.batcher.wait_ns(100) == 0
    world = World()
    world.batcher.cost = BatchCost(4)
    assert world.batcher.wait_ns(100) == 0


def test_a_free_instance_takes_it_with_those_ahead() -> None:
    world = World()
    assert world.batcher.wait_ns(0) == 3 * MS
    assert world.batcher.wait_ns(2) == 5 * MS
    assert world.batcher.wait_ns(4) == 6 * MS + 3 * MS


def test_what_runs_ends_first() -> None:
    world = World()
    world.run(4)
    world.clock.advance(2 * MS)
    assert world.batcher.wait_ns(0) == 4 * MS + 3 * MS
    world.clock.advance(10 * MS)
    assert world.batcher.wait_ns(0) == 3 * MS, "a batch that is late may end at once"


def test_batches_ahead_go_to_the_instances_as_they_come_free() -> None:
    world = World(instances=2)
    world.run(4)
    world.clock.advance(1 * MS)
    assert world.batcher.wait_ns(0) == 3 * MS, "one is free"
    assert world.batcher.wait_ns(4) == 5 * MS + 3 * MS, "a full batch takes it, and the other ends"
    world.run(2)
    world.clock.advance(1 * MS)
    # They end in 4 and 3 ms.
    assert world.batcher.wait_ns(0) == 3 * MS + 3 * MS
    assert world.batcher.wait_ns(5) == 4 * MS + 4 * MS
    assert world.batcher.wait_ns(8) == 6 * MS + 3 * MS + 3 * MS, "a round later"


def test_those_that_come_while_it_waits_make_its_batch_longer() -> None:
    world = World()
    world.run(4)
    # One in 2 ms lately: three more come in the 6 ms until the instance is free.
    world.batcher.arrivals = ArrivalRate()
    world.batcher.arrivals.gap_ns(world.clock.now_ns() - 32 * MS)
    world.batcher.arrivals.count = 16
    assert world.batcher.arrivals.gap_ns(world.clock.now_ns()) == 2 * MS
    assert world.batcher.wait_ns(0) == 6 * MS + 6 * MS
    world.clock.advance(4 * MS)
    assert world.batcher.wait_ns(0) == 2 * MS + 4 * MS
