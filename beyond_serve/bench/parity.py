"""`beyond-bench parity`: how far each way from bytes to pixels is from Pillow's, and whether a model minds.

The reference is Pillow alone: full decode, antialiased resize of the whole image, then the crop. Every way is
a decoder and a resizer that the server can run: the native core and the libraries, at both fidelities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from beyond_serve.bench import images
from beyond_serve.bench.images import paper_image
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.bench.top1 import Maker, agreement
from beyond_serve.preprocess import native
from beyond_serve.preprocess.geometry import geometry
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import LibraryJpegPath
from beyond_serve.preprocess.image_path import ImagePath
from beyond_serve.preprocess.native_path import NativePath
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan

Pixels = NDArray[np.uint8]
WayPath = Callable[[PreprocessPlan], ImagePath]

EXACT_LEVELS = 2
FAST_DB = 38.0
TOP_1 = 0.99
PLAN = PreprocessPlan()
PHOTOGRAPH_EDGES = (256, 128, 64, 32)
"""The short edges that photographs of 640x427 are brought to, so that the decoder may scale by 1, 2, 4, 8."""


@dataclass(frozen=True, slots=True)
class Way:
    """One decoder with one resizer, made for a plan."""

    name: str
    fidelity: Fidelity
    path: WayPath

    def pixels(self, data: bytes, plan: PreprocessPlan) -> Pixels:
        header = read_header(data)
        out = np.empty(plan.output_shape, np.uint8)
        self.path(plan)(data, header, geometry(plan, header.width, header.height, header.orientation), out)
        return out


@dataclass(frozen=True, slots=True)
class Sample:
    """photographic: of the content that "fast" is promised for; the others are the paper's, nearly noise."""

    name: str
    data: bytes
    plan: PreprocessPlan
    photographic: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two uint8 images. most, mean: levels. decibels: PSNR, infinite where equal."""

    most: int
    mean: float
    decibels: float


def ways() -> list[Way]:
    """What this installation can serve with; the first two only where the native core was built."""
    found = []
    if native.available():
        found += [Way("native core", fidelity, _native(fidelity)) for fidelity in ("exact", "fast")]
    found.append(Way("simplejpeg + Pillow", "exact", _library("exact")))
    found.append(Way("simplejpeg scaled + Pillow", "fast", _library("fast")))
    return found


def _native(fidelity: Fidelity) -> WayPath:
    library = _library(fidelity)
    return lambda plan: NativePath(
        plan.interpolation, fidelity, tolerate_corrupt=False, otherwise=library(plan)
    )


def _library(fidelity: Fidelity) -> WayPath:
    return lambda plan: LibraryJpegPath(plan.interpolation, fidelity, tolerate_corrupt=False)


def reference(data: bytes, plan: PreprocessPlan) -> Pixels:
    """Pillow's own: uint8 [H, W, 3] of the plan's output shape. No image may be smaller than its crop."""
    image = Image.open(BytesIO(data)).convert("RGB")
    shape = geometry(plan, *image.size)
    resized = image.resize(shape.resized, Image.Resampling[plan.interpolation.name])
    left, top = shape.start
    height, width, _ = plan.output_shape
    return np.asarray(resized.crop((left, top, left + width, top + height)))


def difference(pixels: Pixels, wanted: Pixels) -> Difference:
    apart = np.abs(pixels.astype(np.int16) - wanted)
    squared = float(np.square(apart, dtype=np.float64).mean())
    decibels = float("inf") if squared == 0 else 10 * float(np.log10(255.0**2 / squared))
    return Difference(int(apart.max()), float(apart.mean()), decibels)


def samples() -> Iterator[Sample]:
    """The paper's three sizes, two of photographic entropy, and two photographs where scikit-learn is."""
    for spec in (images.SMALL, images.MEDIUM, images.LARGE):
        yield Sample(spec.name, paper_image(spec), PLAN, photographic=False)
    for spec in (images.FULL_HD, images.TWELVE_MEGAPIXELS):
        yield Sample(spec.name, paper_image(spec), PLAN, photographic=True)
    for name, data in _photographs().items():
        for edge in PHOTOGRAPH_EDGES:
            plan = replace(PLAN, size=(edge, edge), crop=(edge * 7 // 8, edge * 7 // 8))
            yield Sample(f"{name} to {edge}", data, plan, photographic=True)


def _photographs() -> Mapping[str, bytes]:
    try:
        from sklearn.datasets import load_sample_images  # the `demo` extra
    except ImportError:
        return {}
    bunch = load_sample_images()
    found = {}
    for path, pixels in zip(bunch.filenames, bunch.images, strict=True):
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=88, subsampling="4:2:0")
        found[path.rpartition("/")[2].partition(".")[0]] = buffer.getvalue()
    return found


def run(views: int, progress: Progress) -> Result:
    """Compare every way on every sample, then on the demo model's held-out digits in `views` scenes each.

    Raises:
        ConfigError: scikit-learn, whose digits the held-out images are, is not installed.
    """
    everyone = ways()
    result = Result("parity", ("image", "way", "fidelity", "max levels", "mean levels", "PSNR dB"))
    found: dict[tuple[str, str], list[tuple[Sample, Difference]]] = {
        (way.name, way.fidelity): [] for way in everyone
    }
    task = progress.add_task("pixels", total=None)
    for sample in samples():
        wanted = reference(sample.data, sample.plan)
        for way in everyone:
            apart = difference(way.pixels(sample.data, sample.plan), wanted)
            found[way.name, way.fidelity].append((sample, apart))
            result.rows.append((sample.name, way.name, way.fidelity, apart.most, apart.mean, apart.decibels))
        progress.advance(task)
    makers: dict[tuple[str, str], Maker] = {(way.name, way.fidelity): way.pixels for way in everyone}
    agreed, count = agreement(reference, makers, views, progress)
    result.verdicts = verdicts(found, agreed)
    result.notes = [
        f"reference: Pillow's decoder and {PLAN.interpolation} filter on the whole image; {PLAN.describe()}",
        "photographic: 1080p, 12 Mpx and scikit-learn's photographs; small, medium and large are the paper's",
        f"top-1: the demo model on {count} held-out images, beside the same model on the reference's pixels",
    ]
    if not native.available():
        result.notes.append("the native core is not built in this installation")
    return result


def verdicts(
    found: Mapping[tuple[str, str], list[tuple[Sample, Difference]]],
    agreed: Mapping[tuple[str, str], float],
) -> list[Verdict]:
    """The asked figures for every way. Pure."""
    rows = []
    for (name, fidelity), apart in found.items():
        if fidelity == "exact":
            most = max(one.most for _, one in apart)
            asked = f"at most {EXACT_LEVELS} levels"
            rows.append(Verdict(f"{name}, exact", asked, f"{most}", most <= EXACT_LEVELS))
        else:
            sample, worst = min(
                ((sample, one) for sample, one in apart if sample.photographic),
                key=lambda pair: pair[1].decibels,
            )
            measured = f"{worst.decibels:.1f} dB ({sample.name})"
            asked = f"at least {FAST_DB:.0f} dB"
            rows.append(Verdict(f"{name}, fast", asked, measured, worst.decibels >= FAST_DB))
        share = agreed[name, fidelity]
        rows.append(
            Verdict(f"{name}, {fidelity}: top-1", f"at least {TOP_1:.0%}", f"{share:.2%}", share >= TOP_1)
        )
    return rows
