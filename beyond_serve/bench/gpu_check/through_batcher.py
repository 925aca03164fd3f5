"""An engine through the batcher and slots, beside itself alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beyond_serve.bench.gpu_check.closed_loop import ClosedLoop, LoopRun
from beyond_serve.bench.gpu_check.figures import Check, at_least, below, holds
from beyond_serve.bench.gpu_check.measure import times_for
from beyond_serve.bench.gpu_check.resident import ResidentProgram
from beyond_serve.bench.gpu_check.trace_borders import busy_share, span_rows
from beyond_serve.engines.protocol import Engine
from beyond_serve.engines.slots import SlotArena

SHARE_ASKED = 0.90
OVERHEAD_ASKED_US = 150.0
MOST_INSTANCES = 3


@dataclass(frozen=True, slots=True)
class Windows:
    """Rounds of so many seconds for each contender."""

    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """
    Attributes:
        alone, through: rows a second, medians of interleaved rounds.
        busy: the share of the time in which the device was inferring.
        spans: median microseconds of a batch's stages.
    """

    instances: int
    alone: float
    through: float
    busy: float
    batch_mean: float
    spans: Mapping[str, float]

    @property
    def share(self) -> float:
        return self.through / self.alone


async def throughput(
    engine: Engine, arena: SlotArena, alone: ResidentProgram, instances: int, windows: Windows
) -> Throughput:
    """Closed loop at `alone`'s batch size: a batch waits for every instance that becomes free.

    Raises:
        BeyondError: a request failed.
    """
    batch, times = alone.batch, _times(alone, windows.seconds)
    runs: list[LoopRun] = []
    rates: list[float] = []
    async with ClosedLoop(engine, arena, instances=instances, max_batch=batch) as loop:
        in_flight = (instances + 1) * batch
        await loop.run(windows.seconds / 2, in_flight)
        for _ in range(windows.rounds):
            rates.append(alone.rate(times))
            runs.append(await loop.run(windows.seconds, in_flight))
    batches = [marks for run in runs for marks in run.batches]
    return Throughput(
        instances,
        statistics.median(rates),
        statistics.median(run.rate for run in runs),
        statistics.median(busy_share(run.batches) for run in runs),
        statistics.fmean(run.batch_mean for run in runs),
        {name: median for name, median, _, _ in span_rows(batches)},
    )


async def overhead_us(
    engine: Engine, arena: SlotArena, alone: ResidentProgram, windows: Windows
) -> tuple[float, float]:
    """Batch 1, median microseconds: a bare graph replay that is waited for, and a request's whole way."""
    bare: list[float] = []
    whole: list[float] = []
    async with ClosedLoop(engine, arena, instances=1, max_batch=1) as loop:
        await loop.run(windows.seconds / 2, 1)
        for _ in range(windows.rounds):
            bare += [alone.seconds(1) * 1e6 for _ in range(200)]
            whole += [ns / 1000 for ns in (await loop.run(windows.seconds, 1)).latencies_ns]
    return statistics.median(bare), statistics.median(whole)


def throughput_checks(what: str, found: Sequence[Throughput], default: int) -> list[Check]:
    """
    Args:
        default: the server's number of instances where nobody says.
    """
    own = next(each for each in found if each.instances == default)
    checks = [at_least(f"{what}: share of the engine alone, {default} instance(s)", SHARE_ASKED, own.share)]
    best = max(found, key=lambda each: each.share)
    wrong = "" if default in (1, best.instances) else f"{best.instances} is best and {default} the default"
    return [*checks, holds(f"{what}: instances", "2 beat 1, or the default is 1", wrong)]


def overhead_check(what: str, bare_us: float, whole_us: float) -> Check:
    name = f"{what}: batch 1 over a bare graph replay"
    return below(name, OVERHEAD_ASKED_US, whole_us - bare_us, "us")


def which_wins(what: str, found: Sequence[Throughput]) -> str:
    """A sentence: which number of instances is best, and what the device did with fewer."""
    best = max(found, key=lambda each: each.share)
    one = next(each for each in found if each.instances == 1)
    rest = 100 * (1 - one.busy)
    idle = f"with 1 the device infers {100 * one.busy:.1f} % of the time and rests {rest:.1f} %"
    if best.instances == 1:
        return f"{what}: 1 instance is best: {idle}, and more instances only take turns on it"
    gain = 100 * (best.share / one.share - 1)
    return (
        f"{what}: {best.instances} instances are best, {gain:.1f} % over 1: {idle} while rows are copied, "
        f"results ranked and the next batch is handed over; another instance's batch runs meanwhile "
        f"(busy {100 * best.busy:.1f} %)"
    )


def throughput_rows(what: str, found: Sequence[Throughput]) -> list[tuple[object, ...]]:
    """For a table: `THROUGHPUT_COLUMNS`."""
    return [
        (
            what,
            each.instances,
            each.alone,
            each.through,
            each.share,
            each.busy,
            each.batch_mean,
            each.spans.get("copy in"),
            each.spans.get("infer"),
            each.spans.get("copy out"),
        )
        for each in found
    ]


THROUGHPUT_COLUMNS = (
    "model", "instances", "alone img/s", "through img/s", "share", "device busy", "mean batch",
    "copy in us", "infer us", "copy out us",
)  # fmt: skip


def _times(alone: ResidentProgram, seconds: float) -> int:
    return times_for(seconds, min(alone.seconds(1) for _ in range(3)))
