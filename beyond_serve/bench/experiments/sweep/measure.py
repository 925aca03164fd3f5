"""One model and image at rising concurrency, then at random arrivals of rates below its best."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from beyond_serve.bench.experiments.pace import Pace
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.serving import (
    Offer,
    Served,
    own_cores,
    room_for,
    serving,
)
from beyond_serve.bench.experiments.serving_arguments import (
    add_serving_arguments,
    asked_flags,
    asked_images,
    asked_models,
)
from beyond_serve.bench.experiments.sweep.plan import FULL, QUICK, affordable, concurrencies, enough
from beyond_serve.bench.load.arrivals import Arrivals, ClosedLoop, Poisson
from beyond_serve.bench.load.images import MixImage
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError

HIGHEST, QUICK_HIGHEST = 4096, 1024
_BOUND_MS, _QUICK_BOUND_MS = 8000.0, 800.0
_SHARES, _QUICK_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95), (0.5, 0.8)

Point = dict[str, Any]
Measure = Callable[[Mapping[str, object], Arrivals, float, float], Point]
"""Labels, arrivals, seconds of warm-up and of measuring: one point, which is kept."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What is swept.

    Attributes:
        step: factor from one concurrency to the next.
        bound_ms: mean latency beyond which a flat throughput ends the sweep.
        shares: of the best throughput, offered at random afterwards.
    """

    highest: int
    step: int
    bound_ms: float
    shares: tuple[float, ...]
    pace: Pace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_serving_arguments(parser, sizes="medium")
    parser.add_argument(
        "--max-concurrency",
        type=int,
        metavar="N",
        help=f"highest of the sweep (default: {HIGHEST}; --quick {QUICK_HIGHEST})",
    )
    parser.add_argument(
        "--bound-ms",
        type=float,
        metavar="MS",
        help="end the sweep where throughput is flat and the mean latency beyond this "
        f"(default: {_BOUND_MS:g}; --quick {_QUICK_BOUND_MS:g})",
    )
    parser.add_argument("--no-open-loop", action="store_true", help="leave out the random arrivals")


def sweep_plan(given: argparse.Namespace) -> SweepPlan:
    """Raises:
    ConfigError: a concurrency below 1.
    """
    highest = given.max_concurrency
    if highest is None:
        highest = QUICK_HIGHEST if given.quick else HIGHEST
    if not 1 <= highest <= 65536:
        raise ConfigError(f"--max-concurrency is {highest}", "give 1 to 65536")
    bound_ms = given.bound_ms
    if bound_ms is None:
        bound_ms = _QUICK_BOUND_MS if given.quick else _BOUND_MS
    shares = _QUICK_SHARES if given.quick else _SHARES
    return SweepPlan(
        highest=highest,
        step=4 if given.quick else 2,
        bound_ms=bound_ms,
        shares=() if given.no_open_loop else shares,
        pace=QUICK if given.quick else FULL,
    )


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    plan = sweep_plan(given)
    models = asked_models(given)
    cores = own_cores()
    reporter.note(cores.sentence())
    images = asked_images(given)
    memory = psutil.virtual_memory().available
    for model in models:
        for image in images:
            highest = affordable(plan.highest, len(image.data), memory)
            if highest < plan.highest:
                reporter.note(
                    f"{image.name}: no more than {highest} at once, whose bytes take a quarter of the memory"
                )
            flags = asked_flags(given, room_for(highest, len(image.data)))
            with serving(model, cores, flags) as server:
                measure = _measure_with(server, image, run, reporter, given.seed)
                for said in sweep(plan, highest, {"model": model.name, "size": image.name}, measure):
                    reporter.note(said)


def sweep(plan: SweepPlan, highest: int, labels: Mapping[str, object], measure: Measure) -> Iterator[str]:
    """Measure one model and image; yields what a reader must know."""
    rates: list[float] = []
    for concurrency in concurrencies(highest, plan.step):
        warmup_s, measured_s = plan.pace.lengths(concurrency, rates[-1] if rates else 0.0)
        found = measure(
            {**labels, "arrivals": "closed", "concurrency": concurrency},
            ClosedLoop(concurrency),
            warmup_s,
            measured_s,
        )
        rates.append(found["load"]["throughput_per_s"])
        if enough(rates, found["load"]["latency_ms"]["mean"], plan.bound_ms) and concurrency < highest:
            yield (
                f"{labels['model']}, {labels['size']}: ended at a concurrency of {concurrency} of {highest}: "
                f"the throughput is flat, and the mean latency beyond {plan.bound_ms:g} ms"
            )
            break
    best = max(rates, default=0.0)
    for share in plan.shares if best > 0 else ():
        measure(
            {**labels, "arrivals": "poisson", "load": share},
            Poisson(share * best),
            plan.pace.warmup_s,
            plan.pace.measured_s,
        )


def _measure_with(server: Served, image: MixImage, run: RunFolder, reporter: Reporter, seed: int) -> Measure:
    def measure(
        labels: Mapping[str, object], arrivals: Arrivals, warmup_s: float, measured_s: float
    ) -> Point:
        what = ", ".join(str(value) for value in labels.values())
        offer = Offer(arrivals, image, measured_s, warmup_s, seed=seed)
        measured = server.offer(offer, reporter, what)
        run.add_point(measured.point(labels, simulated=server.model.simulated))
        run.add_requests("-".join(str(value) for value in labels.values()), measured.result)
        measured.go_on()
        return run.points[-1]

    return measure
