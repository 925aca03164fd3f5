"""Rates of things that are compared with each other, measured in this process, in turns.

Machines drift: clocks, neighbours, heat. What is compared is therefore measured in short rounds, one after
the other, each round in another order; what is told is the median over the rounds.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil

from beyond_serve.bench.experiments.cpu_time import DISTURBED, busy_seconds
from beyond_serve.bench.experiments.reporter import Reporter

Work = Callable[[], int]
"""Does some images and returns how many."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure.

    Attributes:
        workers: each is called again and again by a thread of its own, all at the same time.
    """

    name: str
    workers: Sequence[Work]


@dataclass(frozen=True, slots=True)
class Sample:
    """One round. `cpu_s`: CPU seconds of this process per image. `others_cpu`: share of the machine's cores
    that other programs took."""

    images_per_s: float
    cpu_s: float
    others_cpu: float


@dataclass(frozen=True, slots=True)
class Rounds:
    """What a case showed, a sample per round."""

    samples: Sequence[Sample] = field(default=())

    def point(self) -> dict[str, float | int]:
        """Medians, and the lowest and highest rate."""
        rates = [sample.images_per_s for sample in self.samples]
        return {
            "images_per_s": statistics.median(rates),
            "low": min(rates),
            "high": max(rates),
            "rounds": len(rates),
            "cpu_s": statistics.median(sample.cpu_s for sample in self.samples),
            "others_cpu": statistics.median(sample.others_cpu for sample in self.samples),
        }


@dataclass(frozen=True, slots=True)
class Length:
    """How often and how long each case is measured."""

    rounds: int
    seconds: float


def interleaved(cases: Sequence[Case], length: Length, reporter: Reporter, what: str) -> dict[str, Rounds]:
    """Every case once to warm up, then in turns. Names must differ.

    Raises:
        Whatever a worker raises.
    """
    for case in cases:
        for work in case.workers:
            work()
    samples: dict[str, list[Sample]] = {case.name: [] for case in cases}
    total, done = length.rounds * len(cases), 0
    for turn in range(length.rounds):
        for case in rotated(cases, turn):
            reporter.status(what)
            reporter.progress(done, total, case.name)
            samples[case.name].append(measure(case.workers, length.seconds))
            done += 1
    return {name: Rounds(found) for name, found in samples.items()}


def rotated(cases: Sequence[Case], turn: int) -> list[Case]:
    """The order of round `turn`: each starts with another case, and every other runs backwards."""
    first = turn % len(cases) if cases else 0
    order = [*cases[first:], *cases[:first]]
    return order[::-1] if turn % 2 else order


def measure(workers: Sequence[Work], seconds: float) -> Sample:
    """One round of at least one call of each worker.

    Each worker's rate is taken over its own time: one that ends late, with a large image, does not make the
    others look slow.
    """
    ready = threading.Barrier(len(workers) + 1)

    def run(work: Work) -> tuple[int, float]:
        ready.wait()
        began, count = time.perf_counter(), 0
        while True:
            count += work()
            elapsed = time.perf_counter() - began
            if elapsed >= seconds:
                return count, elapsed

    cores = range(psutil.cpu_count() or 1)
    with ThreadPoolExecutor(len(workers)) as pool:
        running = [pool.submit(run, work) for work in workers]
        began, cpu, busy = time.perf_counter(), time.process_time(), busy_seconds(cores)
        ready.wait()
        found = [one.result() for one in running]
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    others = (busy_seconds(cores) - busy - cpu) / (elapsed * len(cores))
    return Sample(
        images_per_s=sum(count / took for count, took in found),
        cpu_s=cpu / sum(count for count, _ in found),
        others_cpu=min(1.0, max(0.0, others)),
    )


def disturbed(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for tables of points during which others used the machine."""
    shares = [float(point["others_cpu"]) for point in points if "others_cpu" in point]
    high = [share for share in shares if share > DISTURBED]
    if not high:
        return []
    return [
        f"DISTURBED: in {len(high)} of {len(shares)} points other programs took {100 * min(high):.0f} to "
        f"{100 * max(high):.0f} % of the cores; compare the lines with each other, not with other runs"
    ]
