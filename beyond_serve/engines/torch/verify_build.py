"""Does a built .pt2 file compute what the network does?"""

from __future__ import annotations

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
"""Of a row's length. Rounding of bf16 gave 8e-3 on ViT-Base with random weights; wrong answers are some 1."""

_SEED = 20240321


def verify(torch: Any, path: Path, reference: Any, request: BuildRequest) -> float:
    """Run the file and `reference` on the same random images, in batches of 1 and of the largest size: what a
    compiler assumed of one batch size may not hold for another.

    Returns:
        The largest relative distance of a row.

    Raises:
        ModelLoadError: the file cannot be run, or a row is further off than TOLERANCE.
    """
    run = _runnable(torch, path)
    rng = np.random.default_rng(_SEED)
    largest = 0.0
    for batch in sorted({1, request.max_batch}):
        pixels = torch.from_numpy(rng.integers(0, 256, (batch, *request.image_size, 3), dtype=np.uint8))
        pixels = pixels.to(request.device)
        with torch.inference_mode():
            expected = reference(pixels)
            try:
                computed = run(pixels)
            except RuntimeError as error:
                raise ModelLoadError(f"the built model cannot run {batch} rows: {one_line(error)}") from error
            distance = (computed - expected).norm(dim=1) / expected.norm(dim=1)
        largest = max(largest, _checked(float(distance.max()), batch, request.precision))
    return largest


def _checked(distance: float, batch: int, precision: str) -> float:
    # Not a number compares as false.
    if distance <= TOLERANCE[precision]:
        return distance
    raise ModelLoadError(
        f"in batches of {batch} the built model's outputs are {distance:.2g} of their length off "
        f"the network's in float32; {TOLERANCE[precision]:g} is allowed for {precision}",
        "build it with --precision fp32, or with another --max-batch",
    )


def _runnable(torch: Any, path: Path) -> Any:
    if read_pt2(path).kind == "export":
        return load_program(torch, path).module()
    run = torch._inductor.aoti_load_package(str(path)).loader.boxed_run
    return lambda pixels: run([pixels])[0]
