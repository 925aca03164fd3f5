"""Invariants of the batcher over random arrivals, costs, deadlines, cancellations and failures."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.batching import Admission, Batcher, FixedPolicy
from beyond_serve.errors import EngineError
from tests.fakes.batching import Ended, FakeInstance, FakeSlot, make_request
from tests.fakes.clock import FakeClock

MS = 1_000_000

arrival = st.tuples(
    st.just("arrive"),
    st.sampled_from(["one", "two"]),
    st.one_of(st.none(), st.integers(1, 20 * MS)),
)
event = st.one_of(
    arrival,
    arrival,
    st.tuples(st.just("pass"), st.integers(0, 5 * MS)),
    st.tuples(st.just("complete"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 10_000)),
)


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(event, max_size=60),
    delay_ns=st.sampled_from([0, MS, 4 * MS]),
    max_batch=st.integers(1, 5),
    instance_count=st.integers(1, 3),
)
def test_invariants(events: list[tuple], delay_ns: int, max_batch: int, instance_count: int) -> None:
    clock, ended = FakeClock(), Ended()
    admission = Admission(10_000)
    batcher = Batcher(FixedPolicy(delay_ns), admission, clock, max_batch=max_batch)
    instances = [FakeInstance(f"i{n}", batcher, clock) for n in range(instance_count)]
    for instance in instances:
        batcher.instance_ready(instance)
    requests, slots, cancelled = [], [], set()

    def no_one_waits_beyond_the_delay_while_an_instance_is_free() -> None:
        if any(instance.running is None for instance in instances):
            for lane in batcher._lanes.values():
                assert not lane.living or clock.now_ns() - lane.head_ns() <= delay_ns

    for kind, *details in events:
        if kind == "arrive":
            key, after_ns = details
            deadline_ns = None if after_ns is None else clock.now_ns() + after_ns
            request = make_request(
                len(requests), clock, ended, key=key, deadline_ns=deadline_ns, admission=admission
            )
            request.slot = FakeSlot()
            slots.append(request.slot)
            requests.append(request)
            batcher.enqueue(request)
        elif kind == "pass":
            clock.advance(details[0])
        elif kind == "complete":
            instance = instances[details[0] % instance_count]
            if instance.running is not None:
                instance.complete(EngineError("no") if details[1] else None)
        elif requests:
            request = requests[details[0] % len(requests)]
            if not request.done:
                cancelled.add(request.payload)
                request.cancel()
        clock.settle()
        no_one_waits_beyond_the_delay_while_an_instance_is_free()

    for _ in range(len(requests) + 1):
        clock.advance(max(delay_ns, 1))
        for instance in instances:
            if instance.running is not None:
                instance.complete()
        clock.settle()

    batches = [batch for instance in instances for batch in instance.batches]
    assert all(1 <= len(batch) <= max_batch for batch in batches)
    # Nothing lost, nothing answered twice, nobody answered who left.
    answered = [request.payload for request in ended.requests]
    assert len(answered) == len(set(answered))
    assert set(answered) | cancelled == set(range(len(requests)))
    assert not set(answered) & cancelled
    # Each result is the request's own.
    assert all(
        request.outputs[request.index] == f"result of {request.payload}"
        for request in ended.requests
        if request.error is None
    )
    # First in, first out within a key, per instance start order.
    for key in ("one", "two"):
        of_key = [batch for batch in batches if batch.key == key]
        of_key.sort(key=lambda batch: (batch.timing.started, batch.requests[0].payload))
        order = [request.payload for batch in of_key for request in batch.requests]
        assert order == sorted(order)
    assert admission.waiting == 0
    assert all(slot.freed == 1 for slot in slots)
