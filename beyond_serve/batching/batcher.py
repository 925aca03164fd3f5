"""The one place where requests become batches and batches become results."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush

from beyond_serve.batching.admission import Admission
from beyond_serve.batching.arrivals import ArrivalRate
from beyond_serve.batching.batch import Batch
from beyond_serve.batching.clock import Clock, Timer
from beyond_serve.batching.cost import BatchCost
from beyond_serve.batching.device_share import DeviceShare
from beyond_serve.batching.forecast import Slack, queue_ns
from beyond_serve.batching.free_instances import FreeInstances
from beyond_serve.batching.instance import BatchObserver, Instance
from beyond_serve.batching.lane import NEVER_NS, Lane
from beyond_serve.batching.lanes import Lanes
from beyond_serve.batching.policy import BatchPolicy, Decision, Dispatch, QueueView, Release, WaitUntil
from beyond_serve.batching.request import DONE, READY, Request
from beyond_serve.errors import BeyondError

UNTRIED_NS = 1_000_000_000
"""After so long without a batch what the costs say may no longer be so: an invented number."""


class Batcher:
    """Forms batches when an instance is free (pull, not push) and hands out their results.

    State: one lane per batch key, requests that run alone after a failure, the free instances, the
    batches in flight, one timer. All of it belongs to the event loop; there are no locks and no
    polling. Arrivals of one loop iteration are seen together, since the decision runs once, after them.

    Guarantee: every request that is enqueued ends: with its result, with its own error, or with the
    one given to `fail_waiting` or `stop`.
    """

    def __init__(
        self,
        policy: BatchPolicy,
        admission: Admission,
        clock: Clock,
        *,
        max_batch: int,
        cost: BatchCost | None = None,
    ) -> None:
        self.max_batch = max_batch
        self.cost = cost or BatchCost(max_batch)
        self.arrivals = ArrivalRate()
        self.observer: BatchObserver | None = None
        self._policy = policy
        self._admission = admission
        self._clock = clock
        self._lanes = Lanes(by_deadline=policy.by_deadline)
        self._alone: deque[Request] = deque()
        self._instances = FreeInstances(self._pump_soon)
        # Asked several times for each request: the list itself.
        self._free = self._instances.free
        self._running: dict[str, Batch] = {}
        self._timer: Timer | None = None
        self._stopped: BeyondError | None = None
        self._slack = Slack()
        self._tried_ns = clock.now_ns()
        # A pump is scheduled; a pump is running. Batches that end inside a pump leave the rest to it.
        self._pump_due = False
        self._pumping = False

    @property
    def batches_running(self) -> int:
        return len(self._running)

    @property
    def instances(self) -> int:
        """How many run a batch or are free to."""
        return len(self._running) + len(self._free)

    @property
    def untried(self) -> bool:
        """Nothing runs and nothing has for a while: what the costs say is to be tried before it is believed.

        Requests that the costs would refuse are otherwise refused for ever, should the costs be wrong.
        """
        return not self._running and self._clock.now_ns() - self._tried_ns >= UNTRIED_NS

    @contextmanager
    def rehearsing(self, policy: BatchPolicy, cost: BatchCost) -> Iterator[None]:
        """Inside, batches run as any others but by `policy`; `cost` hears of them, and neither the rates nor
        the observer do. Only while nobody else enqueues; enter and leave with nothing that waits."""
        kept = self._policy, self.cost, self.arrivals, self._admission, self.observer
        self._policy, self.cost, self.arrivals = policy, cost, ArrivalRate()
        self._admission, self.observer = Admission(0), None
        self._lanes = Lanes(by_deadline=policy.by_deadline)
        try:
            yield
        finally:
            self._policy, self.cost, self.arrivals, self._admission, self.observer = kept
            self._lanes = Lanes(by_deadline=self._policy.by_deadline)

    def share_devices(self, shares: Mapping[str, DeviceShare], weight: float) -> None:
        """From now on a batch on one of these devices also needs a slot of that device's share. Call it
        before the first request."""
        self._instances.share(shares, weight)

    def instance_ready(self, instance: Instance) -> None:
        """`instance` may be given batches from now on."""
        self._instances.add(instance)
        self._pump_soon()

    def instance_gone(self, instance: Instance) -> None:
        """`instance` takes no more batches; what it runs must still be reported."""
        self._instances.remove(instance)

    def enqueue(self, request: Request) -> None:
        """Take a request whose input is ready. Ignores one that has ended meanwhile."""
        if request.state is DONE:
            return
        request.state = READY
        if self._stopped is not None:
            request.fail(self._stopped)
            return
        self.arrivals.count += 1
        self._lanes[request.batch_key].append(self._clock.now_ns(), request)
        if self._free and not self._pump_due:
            self._pump_soon()

    def batch_done(self, instance: Instance, batch: Batch, *, reusable: bool = True) -> None:
        """`instance` is through with `batch`, whose outputs or error are set."""
        self._running.pop(instance.name, None)
        now_ns = self._clock.now_ns()
        took_ns = now_ns - batch.dispatched_ns
        self._instances.ended(instance, took_ns, reusable=reusable)
        again: Sequence[Request] = ()
        if batch.error is None:
            self.cost.observe(len(batch), took_ns)
            self._slack.met(len(batch))
        elif self._stopped is None:
            again = batch.retryable()
            for request in again:
                request.await_retry()
            self._alone.extend(again)
        self._admission.drained(len(batch) - len(again), now_ns)
        # The next batch first, so that the device works while replies are written.
        if not self._pumping:
            self._pump()
        batch.finish(again)
        if self.observer is not None:
            self.observer.batch_finished(batch)

    def wait_ns(self, ahead: int) -> int:
        """How long a new request behind `ahead` others is expected to wait and run; 0 if unknown."""
        cost = self.cost
        if self.instances == 0 or not cost.known:
            return 0
        now_ns = self._clock.now_ns()
        left_ns = [max(0, b.dispatched_ns + cost.latency_ns(len(b)) - now_ns) for b in self._running.values()]
        free_ns = [0] * len(self._free) + sorted(left_ns)
        return queue_ns(ahead, cost, self.max_batch, free_ns, self.arrivals.gap_ns(now_ns))

    def wait_margin_ns(self, ahead: int) -> int:
        """What `wait_ns` may be short by without surprise: the batch that runs, those of the requests ahead
        and its own may each be late; and what those that were let in and were late have taught."""
        batches = 2 + ahead // (self.max_batch * max(self.instances, 1))
        return batches * self.cost.margin_ns + int(self._slack.ns)

    def fail_waiting(self, error: BeyondError) -> None:
        """End every request that waits for a batch."""
        for lane in list(self._lanes.values()):
            for request in lane.drain():
                request.fail(error)
        while self._alone:
            self._alone.popleft().fail(error)

    def stop(self, error: BeyondError) -> None:
        """End every request that waits, and any that would wait from now on."""
        self._stopped = error
        self.fail_waiting(error)
        self._instances.want_nothing()

    def _pump_soon(self) -> None:
        if not self._pump_due and self._free:
            self._pump_due = True
            self._clock.call_soon(self._pump)

    def _pump(self) -> None:
        """Dispatch until the policy says wait, the lanes are empty or no instance is free."""
        self._pump_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pumping = True
        try:
            wake_ns = self._dispatch_all()
        finally:
            self._pumping = False
        if wake_ns < NEVER_NS and self._free:
            self._timer = self._clock.call_at_ns(wake_ns, self._pump)

    def _dispatch_all(self) -> int:
        """Dispatch what may go; when to look again at what may not yet, NEVER_NS if nothing is held back."""
        wake_ns = NEVER_NS
        lanes = self._lanes.by_urgency()
        while self._free and (self._alone or lanes):
            if self._alone:
                # What failed in company goes before anything else.
                if not self._serve_alone(self._alone.popleft()):
                    return NEVER_NS
                continue
            _, number, lane = heappop(lanes)
            again_ns = self._serve(lane) if lane.living else 0
            if again_ns is None:
                return NEVER_NS
            if lane.living and again_ns == 0:
                heappush(lanes, (lane.urgency_ns(), number, lane))
            elif lane.living:
                wake_ns = min(wake_ns, again_ns)
        self._instances.want_nothing()
        return wake_ns

    def _serve(self, lane: Lane) -> int | None:
        """Do as the policy decides. When to look at the lane again, 0 for at once; None if it is others' turn
        on the device."""
        decision = self._decide(lane)
        dropped = lane.take(decision.drop) if decision.drop else ()
        again_ns: int | None = 0
        if isinstance(decision, WaitUntil):
            again_ns = decision.when_ns
        elif (instance := self._instances.take()) is not None:
            self._dispatch(instance, lane.take(decision.size), decision.release)
        else:
            again_ns = None
        # Last, since whoever hears of it may enqueue and cancel.
        if dropped:
            self._slack.missed(len(dropped))
        for request in dropped:
            request.give_up()
        return again_ns

    def _serve_alone(self, request: Request) -> bool:
        """Run on its own what failed in company; False, and it waits on, if the device is others' now."""
        if request.state is DONE:
            return True
        deadline_ns = request.deadline_ns if self._policy.by_deadline else None
        end_ns = self._clock.now_ns() + self.cost.margin_ns + self.cost.latency_ns(1)
        if deadline_ns is not None and end_ns > deadline_ns:
            request.give_up()
        elif (instance := self._instances.take()) is not None:
            self._dispatch(instance, [request], "retry")
        else:
            self._alone.appendleft(request)
            return False
        return True

    def _decide(self, lane: Lane) -> Decision:
        view = self._view(lane)
        decision = self._policy.decide(view)
        if decision.drop == view.waiting and self.untried and view.deadlines_ns[-1] > view.now_ns:
            # By the costs nothing can be met any more. Were they wrong, nobody would ever learn it: the last,
            # which has most time, is run to see.
            return Dispatch(1, "deadline", view.waiting - 1)
        return decision

    def _view(self, lane: Lane) -> QueueView:
        # By position, in the order of QueueView's fields: names would double what it costs.
        now_ns = self._clock.now_ns()
        by_deadline = self._policy.by_deadline
        return QueueView(
            now_ns,
            lane.living,
            lane.head_ns(),
            None if by_deadline else lane.earliest_deadline_ns(self.max_batch),
            self.max_batch,
            self.cost,
            self.arrivals.gap_ns(now_ns),
            lane.deadlines_ns(lane.living) if by_deadline else (),
        )

    def _dispatch(self, instance: Instance, requests: list[Request], release: Release) -> None:
        batch = Batch(requests, requests[0].batch_key, release)
        batch.start(instance.name, simulated=instance.simulated)
        batch.dispatched_ns = self._tried_ns = self._clock.now_ns()
        self._running[instance.name] = batch
        instance.submit(batch)
