"""An emulated accelerator in virtual time: a batch takes what its table says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import Batch, Batcher
from beyond_serve.bench.simulate.clock import VirtualClock
from beyond_serve.bench.simulate.record import Recorder
from beyond_serve.engines.sim_engine import SimTable

_DRAWN = 4096


@dataclass(frozen=True, slots=True)
class Latency:
    """How long batches take.

    Attributes:
        jitter: coefficient of variation of a log-normal factor of mean 1; 0 for exactly the table.
        overhead_ns: added to every batch: handing it to the instance's thread and back.
    """

    table: SimTable
    jitter: float = 0.0
    overhead_ns: int = 0

    def by_size(self, largest: int) -> list[int]:
        """Nanoseconds of a batch of 0 (unused), 1, ... `largest`, without jitter."""
        sizes = range(1, largest + 1)
        return [0, *(round(self.table.latency_ms(size) * 1e6) + self.overhead_ns for size in sizes)]


class Jitter:
    """Factors of mean 1, drawn ahead by the thousand."""

    def __init__(self, deviation: float, generator: np.random.Generator) -> None:
        self._sigma = float(np.sqrt(np.log1p(deviation**2)))
        self._generator = generator
        self._drawn: list[float] = []

    def next(self) -> float:
        if not self._drawn:
            drawn: NDArray[np.float64] = self._generator.lognormal(-(self._sigma**2) / 2, self._sigma, _DRAWN)
            self._drawn = drawn.tolist()
        return self._drawn.pop()


class SimInstance:
    """`batching.Instance` that reports a batch after its time.

    State: the batch it runs, by the timer that ends it.
    """

    simulated = True
    device = "simulated"

    def __init__(
        self,
        name: str,
        batcher: Batcher,
        clock: VirtualClock,
        latencies_ns: list[int],
        recorder: Recorder,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self._batcher = batcher
        self._clock = clock
        self._latencies_ns = latencies_ns
        self._recorder = recorder
        self._jitter = jitter
        self._batch: Batch | None = None
        self._took_ns = 0

    def submit(self, batch: Batch) -> None:
        assert self._batch is None, "an instance was given a batch while it runs one"
        took_ns = self._latencies_ns[len(batch.requests)]
        if self._jitter is not None:
            took_ns = round(took_ns * self._jitter())
        now_ns = self._clock.now_ns()
        self._batch, self._took_ns = batch, took_ns
        batch.timing.started = now_ns
        self._clock.call_exactly_at_ns(now_ns + took_ns, self._through)

    def _through(self) -> None:
        batch = self._batch
        assert batch is not None
        self._batch = None
        batch.outputs = _OUTPUTS
        batch.timing.postprocessed = self._clock.now_ns()
        self._recorder.batch_ended(batch.timing.started, self._took_ns, batch)
        self._batcher.batch_done(self, batch)


_OUTPUTS: Mapping[str, Any] = {}
