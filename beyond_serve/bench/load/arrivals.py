"""When requests arrive: the kinds of load, and the schedules of the open ones.

A schedule is a pure function of the arrivals, the seed and the limits: int64 nanoseconds from the run's
start, ascending. A closed loop has none: it sends when an answer comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from beyond_serve.errors import ConfigError

Times = NDArray[np.int64]
_Kind = TypeVar("_Kind", bound=np.generic)

HIGHEST_RATE = 1e6
"""Requests/s. Beyond any generator in Python: a rate above it is a slip of the keyboard."""

_SCHEDULE_STREAM, _IMAGE_STREAM = 1, 2


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """`concurrency` queries in flight; the next leaves when one has been answered.

    Attributes:
        samples: requests of one query, sent at once; the query ends with its last answer (MLPerf's
            MultiStream). 1 is the usual closed loop.
    """

    concurrency: int
    samples: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency * self.samples <= 65536 or self.concurrency < 1:
            raise ConfigError(f"a concurrency of {self.concurrency} is out of range", "give 1 to 65536")


@dataclass(frozen=True, slots=True)
class ConstantRate:
    """A request each 1/`rate` s, the first at 0. Requests/s."""

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals: exponential gaps of mean 1/`rate` s. Requests/s."""

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)


@dataclass(frozen=True, slots=True)
class Bursts:
    """`size` requests at once, every `period_s` seconds, the first at 0."""

    size: int
    period_s: float

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.period_s < float("inf"):
            raise ConfigError("a burst needs a size of 1 or more and a period above 0 s", "as in 32/0.5")
        _check_rate(self.size / self.period_s)


@dataclass(frozen=True, slots=True)
class Ramp:
    """A rate that goes evenly from `start` to `end` requests/s over the measured time.

    During a warm-up the rate is `start`.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if min(self.start, self.end) < 0:
            raise ConfigError("a ramp goes from and to rates of 0 or more", "as in 10:500")
        _check_rate(max(self.start, self.end))


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded arrival times, seconds from the recording's start, ascending. Sent exactly then."""

    times: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.times:
            raise ConfigError("the recording has no arrival times", "one number of seconds a line")
        if self.times[0] < 0 or any(a > b for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ConfigError("the recorded arrival times do not ascend from 0", "sort them")


OpenArrivals = ConstantRate | Poisson | Bursts | Ramp | Replay
Arrivals = ClosedLoop | OpenArrivals


def _check_rate(rate: float) -> None:
    if not 0 < rate <= HIGHEST_RATE:
        raise ConfigError(f"a rate of {rate:g} requests/s cannot be offered", f"0 to {HIGHEST_RATE:g}")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a run is. `duration_s` and `count` limit what is measured; whichever comes first.

    Neither is needed for a replay, which ends with its recording.
    """

    warmup_s: float
    duration_s: float | None
    count: int | None


def schedule(arrivals: OpenArrivals, limits: Limits, seed: int) -> Times:
    """Every arrival of the run, warm-up included.

    Raises:
        ConfigError: there is none.
    """
    count = 1024
    while True:
        times = _first(arrivals, count, limits, seed)
        cut = _cut(times, limits)
        if len(cut) < len(times) or len(times) < count:
            break
        count *= 2
    if len(cut) == 0:
        raise ConfigError("no request falls into the run", "make it longer or the rate higher")
    return cut


def _cut(times: Times, limits: Limits) -> Times:
    end = len(times)
    if limits.duration_s is not None:
        end = int(np.searchsorted(times, _ns(limits.warmup_s + limits.duration_s)))
    if limits.count is not None:
        end = min(end, int(np.searchsorted(times, _ns(limits.warmup_s))) + limits.count)
    return times[:end]


def _first(arrivals: OpenArrivals, count: int, limits: Limits, seed: int) -> Times:
    """The first `count` arrivals, or all if there are fewer; a longer list only adds to a shorter."""
    match arrivals:
        case ConstantRate(rate):
            return _rounded(np.arange(count) * (1e9 / rate))
        case Poisson(rate):
            generator = np.random.default_rng(_sequence(seed, _SCHEDULE_STREAM))
            return _rounded(np.cumsum(generator.exponential(1e9 / rate, count)))
        case Bursts(size, period_s):
            return _rounded(np.arange(count) // size * (period_s * 1e9))
        case Ramp():
            return _ramp(arrivals, count, limits)
        case Replay(times):
            return _rounded(np.array(times[:count]) * 1e9)


def _ramp(ramp: Ramp, count: int, limits: Limits) -> Times:
    """Where the integral of the rate reaches each whole number."""
    start, end = ramp.start, ramp.end
    if limits.duration_s is not None:
        length = limits.duration_s
    elif limits.count is not None:
        length = 2 * limits.count / (start + end)
    else:
        raise ConfigError("a ramp needs an end", "give a duration or a count")
    before = np.arange(int(np.ceil(start * limits.warmup_s))) / start if start else np.zeros(0)
    numbers = np.arange(min(count, int((start + end) / 2 * length) + 1), dtype=np.float64)
    if start == end:
        during = numbers / start
    else:
        slope = (end - start) / length
        during = (np.sqrt(np.maximum(start**2 + 2 * slope * numbers, 0)) - start) / slope
    return _rounded(np.concatenate((before, limits.warmup_s + during))[:count] * 1e9)


def share(values: NDArray[_Kind], worker: int, workers: int) -> NDArray[_Kind]:
    """One worker's part of a schedule or of the choices that go with it; together they are all of it."""
    return values[worker::workers]


def choose_images(weights: tuple[float, ...], count: int, seed: int, worker: int = 0) -> NDArray[np.uint16]:
    """Which image each request carries, uint16 [count], by its own random stream.

    A closed loop draws per worker, for the order of its requests is not known before; so does nothing
    else. A longer list only adds to a shorter.
    """
    if len(weights) == 1:
        return np.zeros(count, np.uint16)
    edges = np.cumsum(np.array(weights, np.float64) / sum(weights))[:-1]
    generator = np.random.default_rng(_sequence(seed, _IMAGE_STREAM, worker))
    return np.searchsorted(edges, generator.random(count), side="right").astype(np.uint16)


def _sequence(seed: int, *stream: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=stream)


def _rounded(times: NDArray[np.floating[Any]]) -> Times:
    rounded: Times = np.rint(times).astype(np.int64)
    return rounded


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
