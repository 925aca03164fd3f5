"""The instances of one model: started together, restarted alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from beyond_serve.batching import Batch, Batcher, Clock, Timer
from beyond_serve.engines.instance import InstanceEvents, RunningInstance
from beyond_serve.errors import BeyondError, InstanceLostError

log = logging.getLogger(__name__)

FIRST_BACK_OFF_NS = 250_000_000
LONGEST_BACK_OFF_NS = 30_000_000_000
# Losses in a row after which requests no longer wait for the restart: an invented number.
HOPELESS = 3


def back_off_ns(losses: int) -> int:
    """How long to wait before a restart after `losses` losses in a row, at least 1."""
    return min(LONGEST_BACK_OFF_NS, FIRST_BACK_OFF_NS << min(losses - 1, 16))


class InstanceGroup:
    """Tells the batcher which instances are free, and replaces those that die.

    State: the instances by name, which of them are alive, losses in a row for each, restart timers.
    Owned by the event loop. An instance that completes a batch is forgiven its earlier losses.
    """

    def __init__(
        self,
        names: Sequence[str],
        make: Callable[[str, InstanceEvents], RunningInstance],
        batcher: Batcher,
        clock: Clock,
    ) -> None:
        self._make = make
        self._batcher = batcher
        self._clock = clock
        self.on_change: Callable[[], None] | None = None
        self._names = tuple(names)
        self._instances: dict[str, RunningInstance] = {}
        self._alive: set[str] = set()
        self._losses: dict[str, int] = {}
        self._timers: dict[str, Timer] = {}
        self._closed = False
        self.last_error: BeyondError | None = None

    @property
    def alive(self) -> int:
        return len(self._alive)

    @property
    def size(self) -> int:
        return len(self._names)

    @property
    def given_up(self) -> bool:
        """No instance is alive, and each was lost several times in a row: waiting is no use."""
        return not self._alive and all(self._losses.get(name, 0) >= HOPELESS for name in self._names)

    def start(self) -> None:
        for name in self._names:
            self._start_one(name)

    def _start_one(self, name: str) -> None:
        self._timers.pop(name, None)
        if not self._closed:
            self._instances[name] = instance = self._make(name, self)
            instance.start()

    def instance_ready(self, instance: RunningInstance) -> None:
        if self._closed or self._instances.get(instance.name) is not instance:
            return
        self._alive.add(instance.name)
        self._batcher.instance_ready(instance)
        self._changed()

    def batch_done(self, instance: RunningInstance, batch: Batch) -> None:
        self._losses.pop(instance.name, None)
        self._batcher.batch_done(instance, batch, reusable=not self._closed)

    def instance_lost(self, instance: RunningInstance, batch: Batch | None, error: BeyondError) -> None:
        name = instance.name
        what = "was lost" if name in self._alive else "did not start"
        self._alive.discard(name)
        self._batcher.instance_gone(instance)
        self.last_error = error
        if batch is not None:
            batch.error = InstanceLostError(
                f"the instance that ran this request was lost ({error.message})", "send the request again"
            )
            self._batcher.batch_done(instance, batch, reusable=False)
        if not self._closed:
            losses = self._losses[name] = self._losses.get(name, 0) + 1
            wait_ns = back_off_ns(losses)
            why = f"{error.message}; {error.hint}" if error.hint else error.message
            log.error("instance %s %s (%s); restart in %.2f s", name, what, why, wait_ns / 1e9)
            self._timers[name] = self._clock.call_at_ns(
                self._clock.now_ns() + wait_ns, lambda: self._start_one(name)
            )
        self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()

    def prepare_tensors(self) -> None:
        """Blocks until every instance can run tensor batches; call it off the event loop."""
        for instance in list(self._instances.values()):
            instance.prepare_tensors()

    def close(self) -> list[RunningInstance]:
        """Stop restarts and give out the instances, whose blocking `close` the caller runs off the loop."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        instances = list(self._instances.values())
        for instance in instances:
            self._batcher.instance_gone(instance)
        return instances
