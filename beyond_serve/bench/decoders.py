"""`beyond-bench decoders`: from JPEG bytes to the model's uint8 input on one thread, beside other libraries.

All run interleaved, image by image and round by round, so that what else the machine does hits all alike;
medians. The yardsticks are libjpeg-turbo's own: entropy decoding alone, and its decode of the region at our
scale with nothing after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np
from rich.progress import Progress

from beyond_serve.bench import images
from beyond_serve.bench.decoder_peers import FIDELITIES, PLAN, Peer, Pixels, peers, shape_of
from beyond_serve.bench.decoder_pool import pool_verdicts
from beyond_serve.bench.images import ImageSpec, paper_image
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess import native
from beyond_serve.preprocess.native_plan import native_params

SPECS = (images.SMALL, images.MEDIUM, images.FULL_HD, images.TWELVE_MEGAPIXELS, images.LARGE)
ENTROPY, REGION = "libjpeg-turbo: entropy decoding alone", "libjpeg-turbo: scaled region, no resize"
OURS = "beyond-serve"

Timings = dict[tuple[str, str], float]
"""Median milliseconds by (name, fidelity)."""


def run(rounds: int, progress: Progress) -> Result:
    """Measure every image and peer.

    Raises:
        ConfigError: this installation has no native core.
    """
    if not native.available():
        raise ConfigError("the native core is not built in this installation", "see scripts/setup")
    everyone = peers()
    result = Result("decoders", ("library", "fidelity", *(f"{spec.name} ms" for spec in SPECS)))
    task = progress.add_task("decoders", total=len(SPECS))
    found: dict[str, Timings] = {}
    for spec in SPECS:
        # About the same time for each image: the large ones get fewer rounds.
        count = max(5, min(rounds * 10, int(rounds * 600 / spec.kilobytes)))
        found[spec.name] = _measure(paper_image(spec), everyone, count)
        progress.advance(task)
    for key in found[SPECS[0].name]:
        result.rows.append((*key, *(found[spec.name][key] for spec in SPECS)))
    result.verdicts = verdicts(found) + pool_verdicts(paper_image(images.MEDIUM), max(3, rounds // 2))
    result.notes = [
        f"{PLAN.describe()}; uint8 RGB out; one thread; interleaved medians; resize on {native.simd()}",
        *(_fidelity_note(spec, everyone) for spec in SPECS[1:]),
    ]
    return result


def verdicts(found: dict[str, Timings]) -> list[Verdict]:
    """The asked figures. Pure."""
    medium, full_hd = images.MEDIUM.name, images.FULL_HD.name
    rows = [
        _at_most(
            "medium, exact / entropy decoding alone", found[medium], (OURS, "exact"), (ENTROPY, ""), 1.25
        )
    ]
    rows += [_beats(f"{name}, exact", found[name], "exact", 1.3) for name in (medium, full_hd)]
    for spec, factor in ((images.TWELVE_MEGAPIXELS, 1.2), (images.LARGE, 1.1)):
        timings = found[spec.name]
        ours, region = (OURS, "fast"), (REGION, "fast")
        rows.append(
            _at_most(f"{spec.name}, fast / libjpeg-turbo's scaled region", timings, ours, region, 1.15)
        )
        rows.append(_beats(f"{spec.name}, fast", timings, "fast", factor))
    large = found[images.LARGE.name]
    gain = large[REGION, "fast"] / large[OURS, "fast"]
    rows.append(
        Verdict("large, fast against libjpeg-turbo's scaled region", "1.5 times", f"{gain:.2f}", gain >= 1.5)
    )
    return rows


def _at_most(
    what: str, timings: Timings, ours: tuple[str, str], other: tuple[str, str], most: float
) -> Verdict:
    ratio = timings[ours] / timings[other]
    return Verdict(what, f"at most {most}", f"{ratio:.2f}", ratio <= most)


def _beats(what: str, timings: Timings, fidelity: str, factor: float) -> Verdict:
    others = {
        key[0]: value
        for key, value in timings.items()
        if key[1] == fidelity and key[0] not in (OURS, ENTROPY, REGION)
    }
    best = min(others, key=lambda name: others[name])
    ratio = others[best] / timings[OURS, fidelity]
    return Verdict(
        f"{what}, against the best peer", f"{factor} times", f"{ratio:.2f} ({best})", ratio >= factor
    )


def _measure(data: bytes, everyone: Sequence[Peer], rounds: int) -> Timings:
    shape = shape_of(data)
    params = {fidelity: native_params(shape, PLAN.interpolation, fidelity) for fidelity in FIDELITIES}
    core = native.native_module()
    probes: dict[tuple[str, str], Callable[[], float]] = {
        (peer.name, peer.fidelity): _clocked(peer, data) for peer in everyone
    }
    probes[ENTROPY, ""] = partial(core.entropy_ns, data)
    for fidelity in FIDELITIES:
        probes[REGION, fidelity] = partial(core.region_ns, data, params[fidelity])
    times: dict[tuple[str, str], list[float]] = {key: [] for key in probes}
    for _ in range(rounds):
        for key, probe in probes.items():
            times[key].append(probe())
    return {key: median(values) / 1e6 for key, values in times.items()}


def _clocked(peer: Peer, data: bytes) -> Callable[[], float]:
    shape = shape_of(data)

    def probe() -> float:
        start = time.perf_counter_ns()
        peer.run(data, shape)
        return float(time.perf_counter_ns() - start)

    return probe


def _fidelity_note(spec: ImageSpec, everyone: Sequence[Peer]) -> str:
    """How far each peer is from Pillow's exact result, on this image's noise."""
    data = paper_image(spec)
    shape = shape_of(data)
    reference = next(peer for peer in everyone if (peer.name, peer.fidelity) == ("Pillow", "exact"))
    wanted = reference.run(data, shape).copy()
    parts = [
        f"{peer.name} {peer.fidelity} {psnr(peer.run(data, shape), wanted):.1f}"
        for peer in everyone
        if peer is not reference
    ]
    return f"{spec.name}: PSNR in dB against Pillow's exact result: {', '.join(parts)}"


def psnr(pixels: Pixels, reference: Pixels) -> float:
    """Of two uint8 images, in dB; infinite where they are equal."""
    error = float(np.mean((pixels.astype(np.float64) - reference.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255.0**2 / error))
