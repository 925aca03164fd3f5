"""Slots, results and errors of one batch."""

from __future__ import annotations

import pytest

from beyond_serve.batching import Admission, Batch, Request, State
from beyond_serve.errors import (
    BeyondError,
    EngineError,
    ImageDecodeError,
    InstanceLostError,
    ShuttingDownError,
)
from tests.fakes.batching import Ended, FakeSlot, make_request
from tests.fakes.clock import FakeClock


def batch_of(count: int, ended: Ended, admission: Admission | None = None) -> Batch:
    requests = [make_request(n, FakeClock(), ended, admission=admission) for n in range(count)]
    for request in requests:
        request.slot = FakeSlot()
        request.state = State.READY
    batch = Batch(requests, "image", "full")
    batch.start("i0", simulated=True)
    return batch


def test_its_requests_leave_the_queue_and_share_a_timing() -> None:
    admission = Admission(5)
    batch = batch_of(3, Ended(), admission)
    assert admission.waiting == 0
    assert {request.state for request in batch.requests} == {State.RUNNING}
    assert {request.trace.timing for request in batch.requests} == {batch.timing}
    timing = batch.timing
    assert (timing.size, timing.release, timing.instance, timing.simulated) == (3, "full", "i0", True)


@pytest.mark.parametrize(
    ("top_ks", "wanted"), [([4], False), ([0], True), ([3, 5], False), ([3, 0], True), ([0, 0], True)]
)
def test_tensors_are_wanted_where_a_request_asks_for_no_classes(top_ks: list[int], wanted: bool) -> None:
    requests = [make_request(n, FakeClock(), Ended()) for n in range(len(top_ks))]
    for request, top_k in zip(requests, top_ks, strict=True):
        request.top_k = top_k
    assert Batch(requests, "image", "full").tensors_wanted == wanted


@pytest.mark.parametrize("top_ks", [[4], [0, 5, 2], [0, 0]])
def test_it_ranks_as_many_classes_as_any_of_its_requests_shows(top_ks: list[int]) -> None:
    requests = [make_request(n, FakeClock(), Ended()) for n in top_ks]
    for request, top_k in zip(requests, top_ks, strict=True):
        request.top_k = top_k
    assert Batch(requests, "image", "full").top_k == max(top_ks)


def test_each_gets_its_own_row_or_its_own_error() -> None:
    ended = Ended()
    batch = batch_of(3, ended)
    slots = [request.slot for request in batch.requests]
    batch.outputs = ["zero", "one", "two"]
    batch.item_errors = {1: ImageDecodeError("bad")}
    batch.finish()
    assert ended.results() == ["zero", "image_decode", "two"]
    assert [slot.freed for slot in slots] == [1, 1, 1]  # type: ignore[union-attr]
    assert all(request.slot is None for request in batch.requests)


def test_an_engine_that_returns_nothing_is_an_error() -> None:
    ended = Ended()
    batch_of(2, ended).finish()
    assert ended.results() == ["engine", "engine"]


def test_slots_are_back_before_anybody_hears() -> None:
    ended = Ended()
    batch = batch_of(2, ended)
    slots = [request.slot for request in batch.requests]
    seen: list[list[int]] = []
    for request in batch.requests:
        request.on_done = lambda _: seen.append([slot.freed for slot in slots])  # type: ignore[union-attr]
    batch.outputs = ["a", "b"]
    batch.finish()
    assert seen == [[1, 1], [1, 1]]


def test_one_that_left_while_it_ran_gives_its_slot_back_and_hears_nothing() -> None:
    ended = Ended()
    batch = batch_of(2, ended)
    slots = [request.slot for request in batch.requests]
    batch.requests[0].cancel()
    batch.outputs = ["a", "b"]
    batch.finish()
    assert ended.results() == ["b"]
    assert [slot.freed for slot in slots] == [1, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "size", "again"),
    [
        (EngineError("no"), 3, 3),
        (EngineError("its own"), 1, 0),
        (InstanceLostError("gone"), 3, 3),
        (InstanceLostError("gone"), 1, 1),
        (ShuttingDownError("stop"), 3, 0),
        (None, 3, 0),
    ],
)
def test_what_may_run_again(error: BeyondError | None, size: int, again: int) -> None:
    batch = batch_of(size, Ended())
    batch.error = error
    assert len(batch.retryable()) == again


def test_what_ran_again_already_or_has_ended_does_not() -> None:
    batch = batch_of(3, Ended())
    batch.requests[0].retried = True
    batch.requests[1].cancel()
    batch.error = InstanceLostError("gone")
    assert batch.retryable() == [batch.requests[2]]


def test_those_that_run_again_keep_their_slots_and_are_not_told() -> None:
    ended = Ended()
    batch = batch_of(3, ended)
    slots = [request.slot for request in batch.requests]
    batch.requests[1].cancel()
    batch.error = EngineError("no")
    again: list[Request] = batch.retryable()
    for request in again:
        request.await_retry()
    batch.finish(again)
    assert ended.results() == []
    assert [slot.freed for slot in slots] == [0, 1, 0]  # type: ignore[union-attr]
    again[0].cancel()
    assert slots[0].freed == 1  # type: ignore[union-attr]
