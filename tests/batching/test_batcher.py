"""The batcher under a clock that moves only when told: what becomes a batch, and when."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from beyond_serve.batching import Batch, BatchCost, FixedPolicy
from beyond_serve.errors import QueueFullError
from tests.fakes.batching import FakeInstance, InlineFake, make_request
from tests.fakes.world import MS, World


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


def test_the_more_urgent_lane_goes_first() -> None:
    world = World()
    world.enqueue("runs")
    world.clock.settle()
    world.enqueue("early", key="one")
    world.clock.advance(1)
    urgent = make_request("urgent", world.clock, world.ended, key="two")
    urgent.handicap_ns = -MS
    world.batcher.enqueue(urgent)
    for _ in range(3):
        world.instances[0].complete()
    assert world.ended.results() == ["result of runs", "result of urgent", "result of early"]


def test_lanes_that_are_in_use_are_kept_however_many_they_are() -> None:
    world = World(instances=0, capacity=1_000)
    for number in range(500):
        world.enqueue(number, key=("tensor", (number,)))
    assert world.admission.waiting == 500
    world.batcher.instance_ready(FakeInstance("late", world.batcher, world.clock))
    world.clock.settle()
    assert world.admission.waiting == 499
