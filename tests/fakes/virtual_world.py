"""A batcher in virtual time: instances take what their table says, fail, die and come back; every promise
that can be seen from outside is checked at each batch and each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from beyond_serve.batching import (
    Admission,
    Batch,
    BatchCost,
    Batcher,
    BatchPolicy,
    DeviceShare,
    FixedPolicy,
    Levels,
    Request,
    State,
)
from beyond_serve.batching.batcher import UNTRIED_NS
from beyond_serve.batching.lane import UNDATED_NS
from beyond_serve.errors import EngineError, InstanceLostError
from tests.fakes.batching import Ended, FakeSlot, make_request
from tests.fakes.clock import FakeClock, FakeTimer

LEVELS = Levels(3, ageing_ns=3_000_000)


class VirtualInstance:
    """Takes exactly what the table says; fails a batch that holds poison; can be lost and come back."""

    simulated = True

    def __init__(self, name: str, device: str, world: VirtualWorld) -> None:
        self.name = name
        self.device = device
        self.alive = True
        self.running: Batch | None = None
        self._world = world
        self._end: FakeTimer | None = None

    def submit(self, batch: Batch) -> None:
        assert self.alive, "a lost instance was given a batch"
        assert self.running is None, "an instance was given a batch while it runs one"
        world = self._world
        world.check_batch(batch)
        self.running = batch
        batch.timing.started = world.clock.now_ns()
        took_ns = world.true_cost.latency_ns(len(batch))
        if world.inline:
            self._complete()
        else:
            self._end = world.clock.call_at_ns(world.clock.now_ns() + took_ns, self._complete)

    def lose(self) -> None:
        """Its process dies, and with it its batch."""
        if not self.alive:
            return
        self.alive = False
        self._world.batcher.instance_gone(self)
        if (batch := self.running) is not None:
            assert self._end is not None
            self._end.cancel()
            self.running = None
            self._world.lost.update(request.payload for request in batch.requests)
            batch.error = InstanceLostError("killed")
            self._world.batcher.batch_done(self, batch, reusable=False)

    def come_back(self) -> None:
        if not self.alive:
            self.alive = True
            self._world.batcher.instance_ready(self)

    def _complete(self) -> None:
        batch, self.running = self.running, None
        assert batch is not None
        if any(request.payload in self._world.poison for request in batch.requests):
            batch.error = EngineError("poisoned")
        else:
            batch.outputs = [f"result of {request.payload}" for request in batch.requests]
        self._world.batcher.batch_done(self, batch)


class VirtualWorld:
    """One model, with `instances` on each device. Requests are numbered by their arrival; the number is the
    payload."""

    def __init__(
        self,
        policy: BatchPolicy,
        *,
        cost: Mapping[int, float],
        max_batch: int,
        instances: int = 1,
        devices: Sequence[str] = ("0",),
        inline: bool = False,
        clock: FakeClock | None = None,
        shares: Mapping[str, DeviceShare] | None = None,
        weight: float = 1.0,
    ) -> None:
        self.clock = clock or FakeClock()
        self.true_cost = BatchCost(max_batch, {} if inline else cost)
        self.inline = inline
        self.max_batch = max_batch
        self.admission = Admission(1_000_000, LEVELS)
        known = BatchCost(max_batch, self.true_cost.entries() if self.true_cost.known else {})
        self.batcher = Batcher(policy, self.admission, self.clock, max_batch=max_batch, cost=known)
        self.shares = shares or {}
        self.batcher.share_devices(self.shares, weight)
        self.policy = policy
        self.requests: list[Request] = []
        self.slots: list[FakeSlot] = []
        self.poison: set[object] = set()
        self.cancelled: set[object] = set()
        self.lost: set[object] = set()
        self.batches: list[tuple[int, list[object], str]] = []
        self.ended = Ended()
        self._last_batch_ns = self.clock.now_ns()
        self._keys: dict[object, int] = {}
        self.instances = [
            VirtualInstance(f"{device}-{n}", device, self) for device in devices for n in range(instances)
        ]
        for instance in self.instances:
            self.batcher.instance_ready(instance)
        self.clock.settle()

    # What happens.

    def arrive(
        self,
        key: object = "one",
        after_ns: int | None = None,
        level: int = 2,
        *,
        poison: bool = False,
        when_done: str = "",
    ) -> Request:
        """A decoded request. `when_done`: what its client does on hearing of it, "send" or "cancel"."""
        now_ns, number = self.clock.now_ns(), len(self.requests)
        deadline_ns = None if after_ns is None else now_ns + after_ns
        request = make_request(
            number,
            self.clock,
            self.ended,
            key=key,
            deadline_ns=deadline_ns,
            admission=self.admission,
            level=level,
            size=100 + number,
        )
        if when_done:
            request.on_done = lambda ended: self._react(ended, when_done)
        request.slot = slot = FakeSlot()
        self.slots.append(slot)
        self.requests.append(request)
        if poison:
            self.poison.add(number)
        due_ns = now_ns if not self.policy.by_deadline else deadline_ns or now_ns + UNDATED_NS
        self._keys[number] = due_ns + request.handicap_ns
        self.batcher.enqueue(request)
        return request

    def cancel(self, number: int) -> None:
        if self.requests and not (request := self.requests[number % len(self.requests)]).done:
            self.cancelled.add(request.payload)
            request.cancel()

    def _react(self, request: Request, how: str) -> None:
        self.ended(request)
        if how == "send":
            self.arrive(request.batch_key, 4_000_000)
        else:
            for number in range(request.payload + 1, request.payload + 4):
                self.cancel(number)

    def run_out(self) -> None:
        """Every instance comes back, and time passes until nothing is left to do."""
        for instance in self.instances:
            instance.come_back()
        self.clock.settle()
        while (when_ns := self.clock.next_timer_ns()) is not None:
            self.clock.advance(max(0, when_ns - self.clock.now_ns()))
            self.check_step()

    # What must hold.

    def waiting(self, key: object = None) -> list[Request]:
        return [r for r in self.requests if r.lane is not None and key in {None, r.batch_key}]

    def check_batch(self, batch: Batch) -> None:
        now_ns, size = self.clock.now_ns(), len(batch)
        payloads = [request.payload for request in batch.requests]
        assert 1 <= size <= self.max_batch
        assert {request.batch_key for request in batch.requests} == {batch.key}
        assert all(request.state is State.RUNNING for request in batch.requests), "it had ended"
        if batch.release == "retry":
            assert size == 1
        else:
            ranks = [(self._keys[payload], payload) for payload in payloads]
            assert ranks == sorted(ranks)
            left = [(self._keys[r.payload], r.payload) for r in self.waiting(batch.key)]
            assert not left or ranks[-1] < min(left), "a more urgent one was left behind"
        idle = sum(instance.running is not None for instance in self.instances) == 0
        trial = idle and now_ns - self._last_batch_ns >= UNTRIED_NS
        if self.policy.by_deadline and not trial:
            end_ns = now_ns + self.true_cost.latency_ns(size)
            assert all(r.deadline_ns is None or r.deadline_ns >= end_ns for r in batch.requests)
        self._last_batch_ns = now_ns
        self.batches.append((now_ns, payloads, batch.release))

    def check_step(self) -> None:
        """Nobody waits without a reason. Call it when the clock has settled."""
        assert self.batcher.cost.margin_ns == 0, "the costs are exact"
        if not any(self._could_run(instance) for instance in self.instances):
            return
        assert not self.batcher._alone, "a retry waits beside a free instance"
        now_ns = self.clock.now_ns()
        for request in self.waiting():
            waited_ns = now_ns - request.trace.received
            if isinstance(self.policy, FixedPolicy):
                assert waited_ns <= self.policy.max_delay_ns
                assert self.policy.max_delay_ns, "an instance is free and takes at once"
            elif not self.policy.by_deadline:
                assert waited_ns <= self.true_cost.latency_ns(self.max_batch)
            assert len(self.waiting(request.batch_key)) < self.max_batch, "a full batch waits"

    def _could_run(self, instance: VirtualInstance) -> bool:
        share = self.shares.get(instance.device)
        slot = share is None or share.running < share.slots
        return slot and instance.alive and instance.running is None

    def check_end(self) -> None:
        """Everything ended, once, as it should, and gave back what it held."""
        answered = [request.payload for request in self.ended.requests]
        assert len(answered) == len(set(answered)), "answered twice"
        assert not set(answered) & self.cancelled, "answered though cancelled"
        assert set(answered) | self.cancelled == set(range(len(self.requests))), "lost"
        for request in self.ended.requests:
            self._check_outcome(request)
        assert [slot.freed for slot in self.slots] == [1] * len(self.slots)
        assert (self.admission.waiting, self.admission.held_bytes) == (0, 0)
        assert (self.batcher.batches_running, self.waiting()) == (0, [])

    def _check_outcome(self, request: Request) -> None:
        if request.error is None:
            assert request.payload not in self.poison
            assert request.outputs[request.index] == f"result of {request.payload}"
            return
        allowed = {
            "engine": request.payload in self.poison,
            "deadline_exceeded": request.deadline_ns is not None,
            "instance_lost": request.payload in self.lost,
        }
        assert allowed[request.error.code], f"{request.payload}: {request.error}"
