"""What was asked of the policies, measured: goodput under overload, bursts, waiting, instances' time.

Table, SLO and figures are the project's own ("Figures to reach" of its batching issue).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from beyond_serve.bench.report import Verdict
from beyond_serve.bench.simulate.arrivals import Uneven
from beyond_serve.bench.simulate.instance import Latency
from beyond_serve.bench.simulate.points import Point, having, measure, scenario, values
from beyond_serve.bench.simulate.scenario import POLICIES, VIT_BASE_LIKE, capacity

SLO_MS = 50.0
SEEDS = (0, 1, 2)
OVERLOADS = (0.5, 0.8, 1.0, 1.2, 2.0)
OVERLOAD_POLICIES = ("fixed-unaware", "fixed", "deadline")
WAIT_LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
WAIT_INSTANCES = (1, 4, 16)
WAIT_KINDS = (("fixed", 0), ("fixed", 5000), ("adaptive", 0))
BURST_LOAD = 0.8
BURSTS = ("poisson", "burst:1", "burst:10", "burst:100", "uneven")
TIGHT_SLO_MS = 22.0
"""Little more than the largest batch takes, 18 ms: where it shows when a batch leaves."""

TIGHT_LOADS = (0.5, 0.8, 0.9, 0.95)
TIGHT_INSTANCES = (1, 8)

_LATENCY = Latency(VIT_BASE_LIKE)
_LARGEST = 32
CAPACITY = capacity(_LATENCY, _LARGEST, 1)


def questions(quick: bool, seed: int) -> Iterator[dict[str, Any]]:
    """The points, one after the other."""
    yield from overloads(40_000 if quick else 200_000, [seed + number for number in SEEDS])
    yield from bursts(20_000 if quick else 100_000, seed)
    yield from waits(10_000 if quick else 60_000, seed)
    yield from tight(10_000 if quick else 60_000, seed)


def overloads(requests: int, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    for seed in seeds:
        for load in OVERLOADS:
            for policy in OVERLOAD_POLICIES:
                given = scenario(VIT_BASE_LIKE, policy, load, requests=requests, slo_ms=SLO_MS, seed=seed)
                yield measure(
                    given, {"question": "overload", "policy": policy, "load": load, "arrivals seed": seed}
                )


def bursts(requests: int, seed: int) -> Iterator[dict[str, Any]]:
    """Without deadlines: what is late would not be seen in the latencies of the answered."""
    for policy in ("fixed", "adaptive"):
        for arrivals in BURSTS:
            given = scenario(
                VIT_BASE_LIKE,
                policy,
                BURST_LOAD,
                requests=requests,
                arrivals=arrivals,
                max_queue=100_000,
                seed=seed,
            )
            yield measure(given, {"question": "bursts", "policy": policy, "arrivals": arrivals})


def waits(requests: int, seed: int) -> Iterator[dict[str, Any]]:
    for instances in WAIT_INSTANCES:
        for load in WAIT_LOADS:
            for policy, delay_us in WAIT_KINDS:
                given = scenario(
                    VIT_BASE_LIKE,
                    policy,
                    load,
                    requests=requests,
                    instances=instances,
                    max_delay_us=delay_us,
                    max_queue=100_000,
                    seed=seed,
                )
                labels = {"policy": policy, "max_delay_us": delay_us, "instances": instances, "load": load}
                yield measure(given, {"question": "waiting", **labels})


def tight(requests: int, seed: int) -> Iterator[dict[str, Any]]:
    """How much of the instances' time each policy takes for the goodput it gives (Symphony's question)."""
    for instances in TIGHT_INSTANCES:
        for load in TIGHT_LOADS:
            for policy in POLICIES:
                given = scenario(
                    VIT_BASE_LIKE,
                    policy,
                    load,
                    requests=requests,
                    slo_ms=TIGHT_SLO_MS,
                    instances=instances,
                    seed=seed,
                )
                labels = {"policy": policy, "instances": instances, "load": load}
                yield measure(given, {"question": "tight", **labels})


def burst_ms(arrivals: str) -> float:
    """How long one instance is busy with one burst, by itself."""
    if arrivals == "uneven":
        return Uneven(BURST_LOAD * CAPACITY).burst / CAPACITY * 1e3
    size = int(arrivals.partition(":")[2] or 0)
    full, rest = divmod(size, _LARGEST)
    latencies_ns = _LATENCY.by_size(_LARGEST)
    return (full * latencies_ns[_LARGEST] + latencies_ns[rest]) / 1e6


def verdicts(points: Sequence[Point]) -> list[Verdict]:
    """Of what of the questions was measured."""
    found = [*_overload_verdicts(having(points, question="overload"))]
    for policy in ("fixed", "adaptive"):
        found += _burst_verdicts(policy, having(points, question="bursts", policy=policy))
    return found


def _overload_verdicts(points: Sequence[Point]) -> Iterator[Verdict]:
    if not points:
        return
    # Over the seeds, the worst.
    at_12 = _goodput_ratios(points, "fixed-unaware", (1.2,))
    if at_12:
        yield _at_least("goodput of deadline over fixed, which knows no deadlines, at 1.2", at_12, 1.3)
    for other in ("fixed-unaware", "fixed"):
        below = _goodput_ratios(points, other, (0.5, 0.8, 1.0))
        if below:
            yield _at_least(f"goodput of deadline over {other} at 0.5, 0.8 and 1.0", below, 1.0)
    mine = having(points, policy="deadline")
    peak = max(values(mine, "load.goodput_per_s"), default=0.0)
    twice = having(mine, load=2.0)
    if twice and peak:
        shares = [good / peak for good in values(twice, "load.goodput_per_s")]
        yield _at_least("deadline at twice capacity: goodput over its own peak", shares, 0.95)
        p99 = max(values(twice, "load.latency_ms.p99"), default=float("inf"))
        yield Verdict(
            "deadline at twice capacity: p99 of the answered, ms",
            f"<= {SLO_MS:g}",
            f"{p99:.1f}",
            p99 <= SLO_MS,
        )


def _goodput_ratios(points: Sequence[Point], other: str, loads: Iterable[float]) -> list[float]:
    """deadline's goodput over the other's for the same arrivals, by load and seed."""
    ratios = []
    for load in loads:
        for mine in having(points, policy="deadline", load=load):
            seed = {"arrivals seed": mine["labels"]["arrivals seed"]}
            for theirs in having(points, policy=other, load=load, **seed):
                good, other_good = mine["load"]["goodput_per_s"], theirs["load"]["goodput_per_s"]
                ratios.append(good / other_good if other_good else float("inf"))
    return ratios


def _at_least(what: str, ratios: Sequence[float], asked: float) -> Verdict:
    worst = min(ratios)
    return Verdict(what, f">= {asked:g}", f"{worst:.4g}" if worst < 100 else "more than 100", worst >= asked)


def _burst_verdicts(policy: str, points: Sequence[Point]) -> Iterator[Verdict]:
    base = values(having(points, arrivals="poisson"), "load.latency_ms.p99")
    for arrivals in BURSTS[1:]:
        p99 = values(having(points, arrivals=arrivals), "load.latency_ms.p99")
        if base and p99:
            bound = base[0] + burst_ms(arrivals)
            what = f"p99 of {policy} under {arrivals} at {BURST_LOAD:g}, ms"
            asked = f"<= Poisson's {base[0]:.1f} + {burst_ms(arrivals):.1f}"
            yield Verdict(what, asked, f"{p99[0]:.1f}", p99[0] <= bound)
