"""How requests end otherwise than with a result: failures, losses, deadlines, cancellation, shutdown."""

from __future__ import annotations

from beyond_serve.batching import (
    Batch,
    DeadlinePolicy,
    DeviceShare,
    Request,
    State,
)
from beyond_serve.batching.batcher import UNTRIED_NS
from beyond_serve.errors import EngineError, InstanceLostError, ShuttingDownError
from tests.fakes.batching import Ended, FakeInstance, FakeSlot, InlineFake, make_request
from tests.fakes.world import MS, World


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


def test_a_batch_that_fails_inside_submit_runs_again_one_by_one() -> None:
    class Refuses(InlineFake):
        """Fails every batch of more than one, before `submit` returns."""

        def submit(self, batch: Batch) -> None:
            FakeInstance.submit(self, batch)
            self.complete(EngineError("no") if len(batch) > 1 else None)

    world = World(instances=0)
    world.batcher.instance_ready(Refuses("inline", world.batcher, world.clock))
    world.enqueue("a", "b")
    world.clock.settle()
    assert world.ended.results() == ["result of a", "result of b"]


def test_those_that_run_again_are_not_counted_as_answered() -> None:
    world = World(max_batch=4, capacity=1_000)
    world.enqueue(*range(248))
    world.clock.settle()
    world.instances[0].complete()
    world.clock.advance(500 * MS)
    world.instances[0].complete(EngineError("no"))
    # Eight a second would be 30 s; in truth nothing was answered since the first batch.
    assert world.admission.retry_after_s() == 1


def test_a_retry_behind_another_models_batch_runs_when_its_turn_comes() -> None:
    share = DeviceShare(1)
    world = World()
    other = World(clock=world.clock)
    for member in (world, other):
        member.batcher.share_devices({"fake": share}, 1.0)
    world.enqueue("a", "b")
    world.clock.settle()
    other.enqueue("x", "y")
    world.clock.settle()
    world.instances[0].complete(EngineError("no"))
    world.clock.settle()
    for _ in range(3):
        for instance in (world.instances[0], other.instances[0]):
            if instance.running is not None:
                instance.complete()
        world.clock.settle()
    assert world.ended.results() == ["result of a", "result of b"]
    assert other.ended.results() == ["result of x", "result of y"]


def test_a_retry_whose_deadline_cannot_be_met_is_not_run_by_policies_that_live_by_deadlines() -> None:
    world = World(policy=DeadlinePolicy())
    world.enqueue("warm", "up")
    world.clock.advance(4 * MS)
    world.instances[0].complete()
    world.clock.settle()
    deadline_ns = world.clock.now_ns() + 5 * MS
    world.enqueue("late", deadline_ns=deadline_ns)
    world.enqueue("timely", deadline_ns=deadline_ns + 10 * MS)
    world.clock.advance(4 * MS)
    world.instances[0].complete(EngineError("no"))
    world.clock.settle()
    running = world.instances[0].running
    assert running is not None
    assert [request.payload for request in running.requests] == ["timely"]
    assert world.ended.results()[2:] == ["deadline_exceeded"]


def test_a_request_that_comes_after_the_stop_gives_its_slot_back() -> None:
    world = World()
    world.batcher.stop(ShuttingDownError("stop"))
    request = make_request("a", world.clock, world.ended)
    request.state = State.DECODING
    request.slot = slot = FakeSlot()
    world.batcher.enqueue(request)
    assert world.ended.results() == ["shutting_down"]
    assert slot.freed == 1


def test_a_client_that_comes_back_at_once_does_not_disturb_the_failing_of_what_waits() -> None:
    world = World(instances=0)
    again = make_request("again", world.clock, Ended(), key="another")
    (first,) = world.enqueue("first")
    first.on_done = lambda _: world.batcher.enqueue(again)
    world.enqueue("second", key="third")
    world.batcher.fail_waiting(InstanceLostError("gone"))
    assert world.ended.results() == ["instance_lost"]
    assert not again.done


def test_a_client_that_cancels_when_it_hears_of_a_drop_does_not_empty_a_batch() -> None:
    world = World(policy=DeadlinePolicy(), max_batch=2)
    world.enqueue("warm", "up")
    world.clock.advance(6 * MS)
    world.instances[0].complete()
    world.clock.settle()
    now_ns = world.clock.now_ns()
    (hopeless,) = world.enqueue("hopeless", deadline_ns=now_ns + MS)
    (sibling,) = world.enqueue("sibling", deadline_ns=now_ns + 50 * MS)
    told: list[Request] = []

    def cancel_sibling(request: Request) -> None:
        told.append(request)
        sibling.cancel()

    hopeless.on_done = cancel_sibling
    world.clock.settle()
    assert told == [hopeless]
    assert sibling.done
    world.enqueue("next")
    world.instances[0].complete()
    world.clock.settle()
    assert world.sizes() == [2, 1, 1]


def test_costs_that_refuse_everything_are_tried_after_a_while() -> None:
    world = World(policy=DeadlinePolicy(), max_batch=1)
    # The machine was slow for a time; now every deadline seems out of reach.
    for _ in range(10):
        world.enqueue("slow")
        world.clock.advance(100 * MS)
        world.instances[0].complete()
    answered = 0
    for _ in range(40):
        world.clock.advance(UNTRIED_NS)
        world.enqueue("early", deadline_ns=world.clock.now_ns() + 20 * MS)
        world.enqueue("late", deadline_ns=world.clock.now_ns() + 21 * MS)
        world.clock.advance(5 * MS)
        for instance in world.instances:
            while instance.running is not None:
                instance.complete()
                world.clock.settle()
        answered = sum(result == "result of early" for result in world.ended.results())
    assert answered > 10
    assert world.batcher.cost.latency_ns(1) < 20 * MS


def test_nothing_hopeless_is_tried_while_batches_run() -> None:
    world = World(policy=DeadlinePolicy(), max_batch=1, instances=2)
    world.enqueue("slow")
    world.clock.advance(100 * MS)
    next(instance for instance in world.instances if instance.running).complete()
    world.enqueue("busy")
    world.clock.advance(2 * UNTRIED_NS)
    world.enqueue("hopeless", deadline_ns=world.clock.now_ns() + 20 * MS)
    world.clock.settle()
    assert world.ended.results() == ["result of slow", "deadline_exceeded"]
    assert sum(world.sizes()) == 2
