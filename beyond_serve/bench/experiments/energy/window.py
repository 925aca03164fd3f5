"""Joules of a stretch of time, and of an image. Pure but for the counters and the clock it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from beyond_serve.bench.experiments.energy.counters import EnergyCounter

Kind = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Used:
    """What a window of time used: seconds, and joules by kind of device."""

    seconds: float
    joules: Mapping[Kind, float]

    def watts(self, kind: Kind) -> float:
        return self.joules[kind] / self.seconds if self.seconds else 0.0


class EnergyWindow:
    """From its making to `close`; every counter is read once at each end."""

    def __init__(self, counters: Sequence[EnergyCounter], clock: Callable[[], float]) -> None:
        self._counters = counters
        self._clock = clock
        self._began = clock()
        self._before = [counter.read_joules() for counter in counters]

    def close(self) -> Used:
        joules: dict[Kind, float] = {counter.kind: 0.0 for counter in self._counters}
        for counter, before in zip(self._counters, self._before, strict=True):
            joules[counter.kind] += counter.between(before, counter.read_joules())
        return Used(self._clock() - self._began, joules)


def per_image(loaded: Used, idle: Used, images: float) -> dict[Kind, float]:
    """Joules per image beyond what the idle machine takes; {} if no image was answered."""
    if images <= 0:
        return {}
    return {
        kind: (joules - idle.watts(kind) * loaded.seconds) / images for kind, joules in loaded.joules.items()
    }
