"""Fidelity "fast": decoded at a reduced scale, at least 38 dB from "exact" on photographs."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from beyond_serve.preprocess.dct_scale import FAST_RATIO
from beyond_serve.preprocess.geometry import geometry
from beyond_serve.preprocess.native import available, decode
from beyond_serve.preprocess.native_plan import native_params
from beyond_serve.preprocess.plan import Interpolation, PreprocessPlan
from tests.preprocess.native.jpegs import encode

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")


@cache
def photographs() -> list[bytes]:
    return [encode(Image.fromarray(pixels), quality=88) for pixels in load_sample_images().images]


@pytest.mark.parametrize("kernel", [kernel for kernel, ratio in FAST_RATIO.items() if ratio])
@pytest.mark.parametrize("denominator", [2, 4, 8])
@pytest.mark.parametrize("above", [0.0, 0.2])
@pytest.mark.parametrize("photograph", [0, 1])
def test_at_least_38_db(kernel: Interpolation, denominator: int, above: float, photograph: int) -> None:
    edge = int(427 / denominator / (FAST_RATIO[kernel] + above))
    plan = PreprocessPlan(size=(edge, edge), crop=(edge, edge), interpolation=kernel)
    shape = geometry(plan, 640, 427)
    results = []
    for fidelity, scale in (("exact", 8), ("fast", 8 // denominator)):
        slot = np.empty(plan.output_shape, np.uint8)
        params = native_params(shape, kernel, fidelity)
        assert params is not None
        assert decode(photographs()[photograph], params, slot).scale == scale
        results.append(slot.astype(np.float64))
    error = float(np.mean((results[0] - results[1]) ** 2))
    assert 10 * np.log10(255**2 / error) >= 38


def test_just_below_the_ratio_it_decodes_at_the_next_larger_scale() -> None:
    edge = int(427 / 2 / (FAST_RATIO[Interpolation.BILINEAR] - 0.02))
    plan = PreprocessPlan(size=(edge, edge), crop=(edge, edge))
    params = native_params(geometry(plan, 640, 427), Interpolation.BILINEAR, "fast")
    assert params is not None
    assert decode(photographs()[0], params, np.empty(plan.output_shape, np.uint8)).scale == 8
