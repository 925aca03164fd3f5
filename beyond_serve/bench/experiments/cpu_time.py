"""Who used the server's cores while it was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from beyond_serve.bench.load.spec import LoadProgress

DISTURBED = 0.1
"""Share of the server's cores that others may take before a reader must be told: an invented number."""

_RUNNING = ("user", "nice", "system", "irq", "softirq", "steal")
"""The kernel's counters of a core that is not idle; each only grows."""


@dataclass(frozen=True, slots=True)
class CpuShares:
    """Shares of the server's cores in a load's measured time: its own process, and all others.

    None if the time was too short to say.
    """

    own: float | None = None
    others: float | None = None


@dataclass(slots=True)
class CpuMeter:
    """CPU time over a load's measured time, sampled as the load tells of itself.

    Attributes:
        own_seconds: CPU seconds so far of the server's process.
        busy_seconds: in which the server's cores ran anything at all.
    """

    own_seconds: Callable[[], float]
    busy_seconds: Callable[[], float]
    clock: Callable[[], float] = time.monotonic
    _samples: list[tuple[float, float, float]] = field(default_factory=list)

    def sample(self, progress: LoadProgress) -> None:
        over = progress.total_s is not None and progress.elapsed_s > progress.total_s
        if not progress.warming_up and not over:
            self._samples.append((self.clock(), self.own_seconds(), self.busy_seconds()))

    def shares(self, cores: int) -> CpuShares:
        if len(self._samples) < 2 or self._samples[-1][0] <= self._samples[0][0]:
            return CpuShares()
        elapsed, own, busy = (
            after - before for before, after in zip(self._samples[0], self._samples[-1], strict=True)
        )
        available = elapsed * cores
        # The kernel counts hundredths of seconds: what is finer comes of subtracting floats.
        others = round((busy - own) / available, 4)
        return CpuShares(own / available, min(1.0, max(0.0, others)))


def busy_seconds(cores: Sequence[int]) -> float:
    """CPU seconds so far in which `cores` were not idle, whoever ran there."""
    per_core = psutil.cpu_times(percpu=True)
    return sum(_busy(per_core[core]) for core in cores if core < len(per_core))


def _busy(times: Any) -> float:
    """What ran, added up: taking the idle time from the whole would let rounding (and the kernel, whose
    iowait may shrink) make it less than before. Guests' time is in the user's already."""
    return float(sum(getattr(times, kind, 0.0) for kind in _RUNNING))


def disturbance(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for tables of points whose server did not have its cores to itself."""
    shares = [float(point["server"].get("others_cpu") or 0.0) for point in points if "server" in point]
    disturbed = [share for share in shares if share > DISTURBED]
    if not disturbed:
        return []
    return [
        f"DISTURBED: in {len(disturbed)} of {len(shares)} points other programs took "
        f"{100 * min(disturbed):.0f} to {100 * max(disturbed):.0f} % of the server's cores; it can do more "
        "than this shows"
    ]
