"""When simulated requests arrive: the load generator's kinds, uneven traffic, closed loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyond_serve.bench.load.arrivals import Bursts, ConstantRate, Limits, Poisson, Replay, schedule
from beyond_serve.errors import ConfigError

Times = NDArray[np.int64]

PEAK, PEAK_SHARE, PERIOD_S = 3.0, 0.2, 1.0
"""Uneven traffic: the peak's rate over the mean rate, its share of the time, and from one to the next."""


@dataclass(frozen=True, slots=True)
class Uneven:
    """Poisson arrivals whose rate steps between a peak and less, so that the mean is `rate` per second.

    Source: triton-inference-server/server issue 7318 ("uneven QPS"): far worse p99 than at an even rate of
    the same mean. Its curve is a picture; the steps are ours.

    Attributes:
        peak: rate in the peak over the mean rate; its share of the time times it is at most 1.
        period_s: from one peak to the next.
    """

    rate: float
    peak: float = PEAK
    share: float = PEAK_SHARE
    period_s: float = PERIOD_S

    def __post_init__(self) -> None:
        if not 1 <= self.peak <= 1 / self.share:
            raise ConfigError(
                f"a peak of {self.peak:g} times the mean is out of range", f"1 to {1 / self.share:g}"
            )

    @property
    def burst(self) -> float:
        """Requests of one peak, on average."""
        return self.rate * self.peak * self.share * self.period_s

    def times(self, count: int, seed: int) -> Times:
        """The first `count` arrivals: even Poisson arrivals in a time that runs as fast as the rate."""
        drawn = np.cumsum(np.random.default_rng(seed).exponential(1 / self.rate, count))
        periods, within = np.divmod(drawn / self.period_s, 1)
        calm = 1 - self.peak * self.share
        stretched = np.interp(within, [0, calm, 1], [0, 1 - self.share, 1])
        return np.rint((periods + stretched) * self.period_s * 1e9).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Closed:
    """`concurrency` clients; each sends again `think_ns` after its answer.

    The think time must not be 0: who is refused at once would ask again for ever at the same instant.
    """

    concurrency: int
    think_ns: int = 200_000


Open = ConstantRate | Poisson | Bursts | Replay | Uneven


def arrival_times(arrivals: Open, count: int, seed: int) -> Times:
    """int64 nanoseconds, ascending."""
    if isinstance(arrivals, Uneven):
        return arrivals.times(count, seed)
    return schedule(arrivals, Limits(0, None, count), seed)


def parse_arrivals(text: str) -> Callable[[float], Open]:
    """From "poisson", "constant", "burst:N" or "uneven[:PEAK]" to arrivals at a mean rate per second.

    Raises:
        ConfigError: it is none of them.
    """
    kind, _, argument = text.partition(":")
    try:
        if kind == "poisson" and not argument:
            return Poisson
        if kind == "constant" and not argument:
            return ConstantRate
        if kind == "burst":
            size = int(argument)
            return lambda rate: Bursts(size, size / rate)
        if kind == "uneven":
            peak = float(argument or PEAK)
            return lambda rate: Uneven(rate, peak)
    except ValueError:
        pass
    raise ConfigError(f"no arrivals are called '{text}'", "poisson, constant, burst:N or uneven[:PEAK]")
