"""The one place where requests become batches and batches become results."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from beyond_serve.batching.admission import Admission
from beyond_serve.batching.batch import Batch
from beyond_serve.batching.clock import Clock, Timer
from beyond_serve.batching.lane import Lane
from beyond_serve.batching.policy import BatchPolicy, Dispatch, QueueView
from beyond_serve.batching.request import DONE, READY, Request
from beyond_serve.errors import BeyondError

# Keys with a lane of their own before empty ones are swept: an invented number.
MOST_LANES = 64


class Instance(Protocol):
    """Runs one batch at a time and reports to `Batcher.batch_done` on the loop: later, or for work of
    microseconds from inside `submit`."""

    @property
    def name(self) -> str: ...

    @property
    def simulated(self) -> bool: ...

    def submit(self, batch: Batch) -> None:
        """Take ownership of `batch`. Never blocks, never raises."""
        ...


class BatchObserver(Protocol):
    """Hears of batches for metrics; called on the loop."""

    def batch_finished(self, batch: Batch) -> None: ...


class Batcher:
    """Forms batches when an instance is free (pull, not push) and hands out their results.

    State: one lane per batch key, the free instances, the batches in flight, one timer. All of it
    belongs to the event loop; there are no locks and no polling. Arrivals of one loop iteration
    are seen together, since the decision runs once, after them.
    """

    def __init__(
        self,
        policy: BatchPolicy,
        admission: Admission,
        clock: Clock,
        *,
        max_batch: int,
    ) -> None:
        self.max_batch = max_batch
        self.service_ns = 0
        self._policy = policy
        self._admission = admission
        self._clock = clock
        self.observer: BatchObserver | None = None
        self._lanes: dict[Hashable, Lane] = {}
        self._free: list[Instance] = []
        self._running: dict[str, Batch] = {}
        self._timer: Timer | None = None
        # A pump is scheduled; a pump is running. Batches that end inside a pump leave the rest to it.
        self._pump_due = False
        self._pumping = False

    @property
    def batches_running(self) -> int:
        return len(self._running)

    def instance_ready(self, instance: Instance) -> None:
        """`instance` may be given batches from now on."""
        self._free.append(instance)
        self._pump_soon()

    def instance_gone(self, instance: Instance) -> None:
        """`instance` takes no more batches; what it runs must still be reported."""
        if instance in self._free:
            self._free.remove(instance)

    def enqueue(self, request: Request) -> None:
        """Take a request whose input is ready. Ignores one that has ended meanwhile."""
        if request.state is DONE:
            return
        request.state = READY
        lane = self._lanes.get(request.batch_key) or self._lane(request.batch_key)
        lane.append(self._clock.now_ns(), request)
        if self._free and not self._pump_due:
            self._pump_soon()

    def batch_done(self, instance: Instance, batch: Batch, *, reusable: bool = True) -> None:
        """`instance` is through with `batch`, whose outputs or error are set."""
        self._running.pop(instance.name, None)
        if reusable:
            self._free.append(instance)
        timing = batch.timing
        if batch.error is None:
            took = timing.postprocessed - timing.started
            # Weight 1/4: an invented number; a few batches of memory.
            self.service_ns += (took - self.service_ns) // 4 if self.service_ns else took
        self._admission.drained(len(batch), self._clock.now_ns())
        # The next batch first, so that the device works while replies are written.
        if not self._pumping:
            self._pump()
        batch.finish()
        if self.observer is not None:
            self.observer.batch_finished(batch)

    def fail_waiting(self, error: BeyondError) -> None:
        """End every request that waits for a batch."""
        for lane in self._lanes.values():
            for request in lane.drain():
                request.fail(error)

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
        if wake_ns is not None and self._free:
            self._timer = self._clock.call_at_ns(wake_ns, self._pump)

    def _dispatch_all(self) -> int | None:
        """Dispatch what may go; when to look again at what may not yet, None if nothing is held back."""
        held: list[Hashable] = []
        wake_ns: int | None = None
        while self._free:
            key = self._oldest_lane(held)
            if key is None:
                break
            decision = self._policy.decide(self._view(self._lanes[key]))
            if isinstance(decision, Dispatch):
                self._dispatch(key, decision)
            else:
                held.append(key)
                wake_ns = decision.when_ns if wake_ns is None else min(wake_ns, decision.when_ns)
        return wake_ns

    def _oldest_lane(self, held: Sequence[Hashable]) -> Hashable | None:
        """The lane whose head has waited longest, of those not held."""
        best: Hashable | None = None
        best_ns = 0
        for key, lane in self._lanes.items():
            if lane.living and key not in held:
                head_ns = lane.head_ns()
                if best is None or head_ns < best_ns:
                    best, best_ns = key, head_ns
        return best

    def _view(self, lane: Lane) -> QueueView:
        # By position, in the order of QueueView's fields: names would double what it costs.
        return QueueView(
            self._clock.now_ns(),
            lane.living,
            lane.head_ns(),
            lane.earliest_deadline_ns(self.max_batch),
            self.max_batch,
            self.service_ns,
        )

    def _lane(self, key: Hashable) -> Lane:
        """The lane of a key seen for the first time. Clients choose their tensors' shapes, and with them
        the keys: empty lanes are forgotten before they are many."""
        if len(self._lanes) >= MOST_LANES:
            self._lanes = {key: lane for key, lane in self._lanes.items() if lane.living}
        lane = self._lanes[key] = Lane()
        return lane

    def _dispatch(self, key: Hashable, decision: Dispatch) -> None:
        instance = self._free.pop()
        batch = Batch(self._lanes[key].take(decision.size), key, decision.release)
        batch.start(instance.name, simulated=instance.simulated)
        self._running[instance.name] = batch
        instance.submit(batch)
