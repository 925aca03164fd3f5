"""Each built model: is it right, and is it as fast as torch itself, from input that is on the device?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from beyond_serve.bench.gpu_check import torch_loop
from beyond_serve.bench.gpu_check.build_child import NORMALIZATION
from beyond_serve.bench.gpu_check.built import BuiltModel, built_models, opened
from beyond_serve.bench.gpu_check.engine_check import EngineCheck
from beyond_serve.bench.gpu_check.figures import Check, at_least, below
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.measure import Pace, interleaved, medians, times_for
from beyond_serve.bench.gpu_check.networks import ASKED, LIMITS, NETWORKS, make_module
from beyond_serve.bench.gpu_check.opened import Opened
from beyond_serve.bench.gpu_check.plan import OUT_OF_TIME
from beyond_serve.bench.gpu_check.reference import row_errors, worst
from beyond_serve.bench.gpu_check.resident import ResidentProgram
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.bench.gpu_check.tiny import TorchReference

BATCHES = (1, 8, 32, 64, 128)
ACCURACY_SIZES = (1, 7, 32)
SHARE_ASKED, RATE_ASKED = 0.95, 8000.0
SLACK = 1.25
"""How much further off than torch in the same precision: our choice."""

_LEAST_S = 12.0
OURS, EAGER, PACKAGE = "ours", "torch eager", "torch with the .pt2"
COLUMNS = (
    "model", "batch", "img/s ours", "img/s torch eager", "img/s torch with the .pt2", "ours / best of torch",
)  # fmt: skip


class Rates(NamedTuple):
    """Rows a second at one batch size, medians of interleaved rounds."""

    batch: int
    ours: float
    eager: float
    package: float

    @property
    def share(self) -> float:
        return self.ours / max(self.eager, self.package)


def run(site: Site, record: Recorder) -> None:
    rows: list[tuple[object, ...]] = []
    try:
        _each(site, record, rows)
    finally:
        # Also what was measured before its time was over.
        record.table("Engine alone, resident input", COLUMNS, rows)


def _each(site: Site, record: Recorder, rows: list[tuple[object, ...]]) -> None:
    pace = Pace(_LEAST_S)
    for model in built_models(site.work):
        before_s = site.left_s()
        if not pace.fits(before_s):
            record.skip(f"{model}: alone", OUT_OF_TIME)
            continue
        # Contexts make a graph for each of their batch sizes: no more than accuracy needs.
        with opened(site, model, max(ACCURACY_SIZES)) as found:
            rates = measure(site, model, found, record)
        rows += [(str(model), *rate, rate.share) for rate in rates]
        for check in rate_checks(str(model), rates, asked=model.network == ASKED):
            record.check(check)
        pace.took(before_s - site.left_s())


def measure(site: Site, model: BuiltModel, found: Opened, record: Recorder) -> list[Rates]:
    """Compare with float32 on the CPU, then with torch at each batch size."""
    source = next(source for source in NETWORKS if source.name == model.network)
    rng = np.random.default_rng()
    reference = TorchReference(make_module(source)[0], NORMALIZATION)
    limit = LIMITS[model.precision]
    check = EngineCheck(str(model), found.engine, reference, limit, rng)
    ours = worst(check.image_errors(ACCURACY_SIZES))
    check.ranks(record, ACCURACY_SIZES)
    call = torch_loop.eager(make_module(source)[0], model.precision, NORMALIZATION, site.device)
    pixels = check.pixels(ACCURACY_SIZES[-1])
    torchs = worst(row_errors(torch_loop.scores(call, pixels, site.device), reference(pixels)))
    for verdict in accuracy_checks(str(model), limit, ours, torchs):
        record.check(verdict)
    compared = 2 * sum(ACCURACY_SIZES)
    record.note(
        f"{model}: largest relative error of {compared} rows {ours:.2e}; torch's own in {model.precision}, "
        f"called operator by operator, {torchs:.2e}"
    )
    calls = {EAGER: call, PACKAGE: torch_loop.package(Path(model.path), site.device)}
    seconds, rounds = (0.05, 3) if site.quick else (0.1, 5)
    return [_rates(site, found, calls, check.pixels(batch), (seconds, rounds)) for batch in BATCHES]


def _rates(
    site: Site,
    found: Opened,
    calls: dict[str, torch_loop.Call],
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    window: tuple[float, int],
) -> Rates:
    seconds, rounds = window
    with ExitStack() as stack:
        ours = stack.enter_context(ResidentProgram(found.runtime, found.network, pixels))
        torchs = {
            name: stack.enter_context(closing(torch_loop.TorchLoop(call, pixels, site.device)))
            for name, call in calls.items()
        }
        contenders: dict[str, ResidentProgram | torch_loop.TorchLoop] = {OURS: ours, **torchs}
        times = {
            name: times_for(seconds, min(each.seconds(1) for _ in range(3)))
            for name, each in contenders.items()
        }
        rates = medians(
            interleaved(
                {
                    name: lambda each=each, name=name: each.rate(times[name])  # type: ignore[misc]
                    for name, each in contenders.items()
                },
                rounds,
            )
        )
    return Rates(len(pixels), rates[OURS], rates[EAGER], rates[PACKAGE])


def accuracy_checks(what: str, limit: float, ours: float, torchs: float) -> list[Check]:
    """The limit that is asked, and that we are hardly further off than torch: untrained weights may make a
    network multiply rounding errors beyond the limit whoever computes it, and then the second tells whose
    fault the first is."""
    name = f"{what}: relative error beside float32 on the CPU, every row"
    return [below(name, limit, ours), below(f"{name}, beside torch's own", SLACK * torchs, ours)]


def rate_checks(what: str, rates: Sequence[Rates], *, asked: bool) -> list[Check]:
    """asked: of this network a rate is asked as well."""
    least = min(rates, key=lambda rate: rate.share)
    checks = [
        at_least(
            f"{what}: share of torch in a plain loop, worst batch ({least.batch})", SHARE_ASKED, least.share
        )
    ]
    if asked:
        best = max(rates, key=lambda rate: rate.ours)
        checks.append(at_least(f"{what}: rate at batch {best.batch}", RATE_ASKED, best.ours, "img/s"))
    return checks
