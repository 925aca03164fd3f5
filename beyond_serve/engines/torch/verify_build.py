"""Does a built .pt2 file compute what the network does?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beyond_serve.engines.foreign import one_line
from beyond_serve.engines.torch.describe import read_pt2
from beyond_serve.engines.torch.runners import load_program
from beyond_serve.errors import ModelLoadError

if TYPE_CHECKING:
    from beyond_serve.engines.torch.build import BuildRequest

TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2}
"""Of a row's length, where PyTorch's own rounding in that precision is not larger. On ViT-Base with random
weights bf16 gave 8e-3; wrong answers are some 1."""

MEANINGLESS = 0.5

_SEED = 20240321
# Another order of the same operations rounds otherwise, by about as much again.
_OWN_ROUNDING = 3


@dataclass(frozen=True, slots=True)
class Deviation:
    """The largest distance of a row of outputs from the network's in float32, relative to that row's length.

    Attributes:
        built: of the file.
        eager: of the network in the same precision, operator by operator: what the precision itself costs.
    """

    built: float
    eager: float


def verify(torch: Any, path: Path, reduced: Any, reference: Any, request: BuildRequest) -> Deviation:
    """Run the file and the network on the same random images, in batches of 1 and of the largest size: what a
    compiler assumed of one batch size may not hold for another.

    Args:
        reduced, reference: the network in the file's precision, and in float32; from pixels to logits.

    Raises:
        ModelLoadError: the file cannot be run, a row is further off than the precision explains, or the
            precision leaves nothing of the answers.
    """
    run = _runnable(torch, path)
    rng = np.random.default_rng(_SEED)
    found: list[Deviation] = []
    for batch in sorted({1, request.max_batch}):
        pixels = torch.from_numpy(rng.integers(0, 256, (batch, *request.image_size, 3), dtype=np.uint8))
        pixels = pixels.to(request.device)
        with torch.inference_mode():
            expected = reference(pixels)
            try:
                computed = run(pixels)
            except RuntimeError as error:
                raise ModelLoadError(f"the built model cannot run {batch} rows: {one_line(error)}") from error
            deviation = Deviation(_distance(computed, expected), _distance(reduced(pixels), expected))
        check(deviation, batch, request.precision)
        found.append(deviation)
    return Deviation(max(one.built for one in found), max(one.eager for one in found))


def _distance(computed: Any, expected: Any) -> float:
    return float(((computed - expected).norm(dim=1) / expected.norm(dim=1)).max())


def check(deviation: Deviation, batch: int, precision: str) -> None:
    """Raises ModelLoadError as `verify`. Pure; what is not a number compares as false."""
    if not deviation.eager <= MEANINGLESS:
        raise ModelLoadError(
            f"in {precision} the network's own outputs are {deviation.eager:.2g} of their length off "
            "those in float32",
            "this network needs --precision fp32, or bf16 where fp16 overflows",
        )
    if not deviation.built <= max(TOLERANCE[precision], _OWN_ROUNDING * deviation.eager):
        raise ModelLoadError(
            f"in batches of {batch} the built model's outputs are {deviation.built:.2g} of their length off "
            f"the network's in float32, and its own in {precision} {deviation.eager:.2g}",
            "PyTorch compiled it wrongly: build it with --no-compile, or with another --max-batch",
        )


def _runnable(torch: Any, path: Path) -> Any:
    if read_pt2(path).kind == "export":
        return load_program(torch, path).module()
    run = torch._inductor.aoti_load_package(str(path)).loader.boxed_run
    return lambda pixels: run([pixels])[0]
