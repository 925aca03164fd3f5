"""The batcher under a clock that moves only when told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from beyond_serve.batching import Admission, Batch, BatchCost, Batcher, FixedPolicy, State
from beyond_serve.errors import EngineError, InstanceLostError, QueueFullError, ShuttingDownError
from tests.fakes.batching import Ended, FakeInstance, FakeSlot, InlineFake, make_request
from tests.fakes.clock import FakeClock

MS = 1_000_000


class World:
    """A batcher with fake instances."""

    def __init__(
        self, *, delay_ns: int = 0, max_batch: int = 4, instances: int = 1, capacity: int = 100
    ) -> None:
        self.clock = FakeClock()
        self.admission = Admission(capacity)
        self.batcher = Batcher(FixedPolicy(delay_ns), self.admission, self.clock, max_batch=max_batch)
        self.instances = [FakeInstance(f"i{n}", self.batcher, self.clock) for n in range(instances)]
        self.ended = Ended()
        for instance in self.instances:
            self.batcher.instance_ready(instance)
        self.clock.settle()

    def enqueue(self, *payloads: object, key: object = "image", deadline_ns: int | None = None):
        requests = [
            make_request(
                p, self.clock, self.ended, key=key, deadline_ns=deadline_ns, admission=self.admission
            )
            for p in payloads
        ]
        for request in requests:
            self.batcher.enqueue(request)
        return requests

    def sizes(self) -> list[int]:
        return [len(batch) for instance in self.instances for batch in instance.batches]


def test_arrivals_of_one_loop_iteration_share_a_batch_without_any_delay() -> None:
    world = World()
    world.enqueue("a", "b", "c")
    assert world.sizes() == []
    world.clock.settle()
    assert world.sizes() == [3]
    assert world.instances[0].batches[0].release == "idle"


def test_an_idle_instance_takes_what_waits_at_once_when_the_delay_is_zero() -> None:
    world = World()
    world.enqueue("a")
    world.clock.settle()
    world.enqueue("b", "c")
    world.clock.settle()
    assert world.sizes() == [1]
    world.instances[0].complete()
    assert world.sizes() == [1, 2]


def test_a_full_batch_leaves_before_the_delay() -> None:
    world = World(delay_ns=5 * MS)
    world.enqueue("a", "b", "c")
    world.clock.settle()
    assert world.sizes() == []
    world.enqueue("d", "e")
    world.clock.settle()
    assert world.sizes() == [4]
    assert world.instances[0].batches[0].release == "full"


def test_the_delay_counts_from_the_oldest_request() -> None:
    world = World(delay_ns=5 * MS)
    world.enqueue("a")
    world.clock.advance(3 * MS)
    world.enqueue("b")
    world.clock.advance(2 * MS - 1)
    assert world.sizes() == []
    world.clock.advance(1)
    assert world.sizes() == [2]
    assert world.instances[0].batches[0].release == "delay"


def test_the_delay_of_a_busy_instances_queue_has_passed_when_it_comes_free() -> None:
    world = World(delay_ns=2 * MS)
    world.enqueue("a", "b", "c", "d")
    world.clock.settle()
    world.enqueue("e")
    world.clock.advance(50 * MS)
    assert world.sizes() == [4]
    world.instances[0].complete()
    assert world.sizes() == [4, 1]


def test_a_deadline_cuts_the_delay_short_by_the_time_a_batch_takes() -> None:
    world = World(delay_ns=50 * MS)
    world.enqueue("a", "b", "c", "d")
    world.clock.advance(4 * MS)
    world.instances[0].complete()
    assert world.batcher.cost.latency_ns(4) == 4 * MS
    world.enqueue("e", deadline_ns=world.clock.now_ns() + 10 * MS)
    world.clock.advance(6 * MS - 1)
    assert world.sizes() == [4]
    world.clock.advance(1)
    assert world.sizes() == [4, 1]
    assert world.instances[0].batches[1].release == "deadline"


def test_results_go_to_their_own_requests() -> None:
    world = World()
    world.enqueue("a", "b", "c")
    world.clock.settle()
    world.instances[0].complete()
    assert world.ended.results() == ["result of a", "result of b", "result of c"]


def test_keys_do_not_mix_and_the_oldest_lane_goes_first() -> None:
    world = World()
    world.enqueue("a", key="image")
    world.clock.advance(1)
    world.enqueue("x", "y", key=("tensor", (3, 2, 2)))
    world.clock.advance(1)
    world.enqueue("b", key="image")
    world.clock.settle()
    world.instances[0].complete()
    world.instances[0].complete()
    world.clock.settle()
    keys = [batch.key for batch in world.instances[0].batches]
    assert keys == ["image", ("tensor", (3, 2, 2)), "image"]


def test_a_waiting_lane_does_not_hold_up_a_full_one() -> None:
    world = World(delay_ns=5 * MS, max_batch=2)
    world.enqueue("a", key="one")
    world.clock.advance(1)
    world.enqueue("b", "c", key="two")
    world.clock.settle()
    assert [batch.key for batch in world.instances[0].batches] == ["two"]


def test_a_failed_batch_runs_again_one_by_one_and_only_the_culprit_fails() -> None:
    world = World(max_batch=2)
    world.enqueue("a", "b", "c")
    world.clock.settle()
    world.instances[0].complete(EngineError("no"))
    assert world.ended.results() == []
    world.instances[0].complete(EngineError("no"))
    assert world.ended.results() == ["engine"]
    world.instances[0].complete()
    world.instances[0].complete()
    assert world.ended.results() == ["engine", "result of b", "result of c"]
    assert [batch.release for batch in world.instances[0].batches] == ["full", "retry", "retry", "idle"]


def test_a_lost_instance_gets_nothing_more_and_its_request_runs_once_more() -> None:
    world = World(instances=2, max_batch=1)
    world.enqueue("a")
    world.clock.settle()
    lost, other = sorted(world.instances, key=lambda instance: not instance.batches)
    batch = lost.batches[0]
    batch.error = InstanceLostError("killed")
    world.batcher.batch_done(lost, batch, reusable=False)
    world.enqueue("b", "c")
    world.clock.settle()
    assert [request.payload for request in other.batches[0].requests] == ["a"]
    other.complete(InstanceLostError("killed as well"))
    assert world.ended.results() == ["instance_lost"]
    assert len(lost.batches) == 1
    assert world.sizes() == [1, 1, 1]


def test_a_waiting_request_is_told_at_its_deadline() -> None:
    world = World(max_batch=1)
    world.enqueue("first")
    world.clock.settle()
    world.enqueue("late", deadline_ns=world.clock.now_ns() + 3 * MS)
    world.clock.advance(3 * MS - 1)
    assert world.ended.results() == []
    world.clock.advance(1)
    assert world.ended.results() == ["deadline_exceeded"]


def test_a_running_request_is_told_at_its_deadline_and_only_then() -> None:
    world = World()
    world.enqueue("late", deadline_ns=world.clock.now_ns() + 3 * MS)
    world.clock.settle()
    world.clock.advance(3 * MS)
    assert world.ended.results() == ["deadline_exceeded"]
    world.instances[0].complete()
    assert world.ended.results() == ["deadline_exceeded"]


def test_an_expired_request_is_never_started() -> None:
    world = World(max_batch=1)
    world.enqueue("first")
    world.clock.settle()
    world.enqueue("late", deadline_ns=world.clock.now_ns() + MS)
    world.clock.advance(2 * MS)
    world.instances[0].complete()
    world.clock.settle()
    assert world.sizes() == [1]


def test_a_cancelled_request_frees_its_place_and_its_slot_and_is_never_answered() -> None:
    world = World(max_batch=1)
    world.enqueue("first")
    world.clock.settle()
    (request,) = world.enqueue("gone")
    request.slot = slot = FakeSlot()
    assert world.admission.waiting == 1
    request.cancel()
    assert (world.admission.waiting, slot.freed) == (0, 1)
    world.instances[0].complete()
    world.clock.settle()
    assert world.ended.results() == ["result of first"]
    assert world.sizes() == [1]


def test_a_running_requests_slot_stays_until_the_instance_is_through() -> None:
    world = World()
    (request,) = world.enqueue("a")
    request.slot = slot = FakeSlot()
    world.clock.settle()
    request.cancel()
    assert slot.freed == 0
    world.instances[0].complete()
    assert slot.freed == 1
    assert world.ended.requests == []


def test_admission_counts_what_waits_and_not_what_runs() -> None:
    world = World(max_batch=2, capacity=3)
    world.enqueue("a", "b")
    world.clock.settle()
    assert world.admission.waiting == 0
    world.enqueue("c", "d", "e")
    with pytest.raises(QueueFullError) as refused:
        world.admission.enter()
    assert refused.value.retry_after_s >= 1
    world.instances[0].complete()
    assert world.admission.waiting == 1


def test_admission_takes_all_or_none() -> None:
    admission = Admission(3)
    admission.enter(2)
    with pytest.raises(QueueFullError):
        admission.enter(2)
    assert admission.waiting == 2


def test_fail_waiting_ends_what_waits_and_leaves_what_runs() -> None:
    world = World(max_batch=1)
    world.enqueue("runs", "waits")
    world.clock.settle()
    world.batcher.fail_waiting(ShuttingDownError("stop"))
    assert world.ended.results() == ["shutting_down"]
    world.instances[0].complete()
    assert world.ended.results() == ["shutting_down", "result of runs"]


def test_dead_requests_do_not_pile_up_while_every_instance_is_busy() -> None:
    world = World(max_batch=1)
    world.enqueue("runs")
    world.clock.settle()
    for _ in range(10_000):
        (request,) = world.enqueue("leaves")
        request.cancel()
    (lane,) = world.batcher._lanes.values()
    assert len(lane._entries) <= 65
    assert world.admission.waiting == 0


def test_a_request_that_ended_while_decoding_is_ignored() -> None:
    world = World()
    request = make_request("a", world.clock, world.ended)
    request.state = State.DECODING
    request.cancel()
    world.batcher.enqueue(request)
    world.clock.settle()
    assert world.sizes() == []


def test_lanes_of_keys_that_clients_made_up_are_forgotten() -> None:
    world = World(max_batch=1)
    for number in range(1_000):
        world.enqueue(number, key=("tensor", (number,)))
        world.clock.settle()
        world.instances[0].complete()
    assert len(world.batcher._lanes) <= 64
    assert len(world.ended.requests) == 1_000


def test_an_instance_may_finish_inside_submit() -> None:
    world = World(max_batch=2, instances=0)
    inline = InlineFake("inline", world.batcher, world.clock)
    world.batcher.instance_ready(inline)
    world.clock.settle()
    world.enqueue("a", "b", "c", "d", "e")
    world.clock.settle()
    assert [len(batch) for batch in inline.batches] == [2, 2, 1]
    assert world.ended.results() == [f"result of {payload}" for payload in "abcde"]
    assert world.batcher.batches_running == 0


def test_what_arrives_while_a_batch_finishes_inside_submit_is_not_lost() -> None:
    world = World(max_batch=1, instances=0)
    inline = InlineFake("inline", world.batcher, world.clock)
    world.batcher.instance_ready(inline)
    world.clock.settle()
    first, second = (make_request(payload, world.clock, world.ended) for payload in ("a", "b"))

    def send_another(request: object) -> None:
        world.ended(first)
        world.batcher.enqueue(second)

    first.on_done = send_another
    world.batcher.enqueue(first)
    world.clock.settle()
    assert world.ended.results() == ["result of a", "result of b"]


def test_a_rehearsal_runs_by_its_own_policy_and_leaves_no_trace() -> None:
    world = World(delay_ns=5 * MS)
    seen: list[Batch] = []
    world.batcher.observer = SimpleNamespace(batch_finished=seen.append)
    live = world.batcher.cost, world.batcher.arrivals
    rehearsed = BatchCost(4)
    with world.batcher.rehearsing(FixedPolicy(), rehearsed):
        world.enqueue("a", "b")
        world.clock.settle()
        assert world.sizes() == [2]
        world.clock.advance(3 * MS)
        world.instances[0].complete()
    assert rehearsed.latency_ns(2) == 3 * MS
    assert (world.batcher.cost, world.batcher.arrivals) == live
    assert not world.batcher.cost.known
    assert world.batcher.arrivals.count == 0
    assert world.admission.retry_after_s() == 1
    assert seen == []
    world.enqueue("c")
    world.clock.settle()
    assert world.instances[0].running is None, "the own policy holds it back again"
    world.clock.advance(5 * MS)
    world.instances[0].complete()
    assert [len(batch) for batch in seen] == [1]


def test_lanes_of_a_rehearsal_do_not_keep_its_order() -> None:
    world = World()
    with world.batcher.rehearsing(FixedPolicy(by_deadline=True), BatchCost(4)):
        world.enqueue("x")
        world.clock.settle()
        world.instances[0].complete()
    world.enqueue("b", "a", "r", "s")
    world.enqueue("late", deadline_ns=world.clock.now_ns() + 900 * MS)
    world.enqueue("soon", deadline_ns=world.clock.now_ns() + 800 * MS)
    world.clock.settle()
    world.instances[0].complete()
    assert [request.payload for request in world.instances[0].batches[-1].requests] == ["late", "soon"]
