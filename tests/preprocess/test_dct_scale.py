"""At which scale a JPEG is decoded in "fast": the libraries as the core, and at least 38 dB from "exact"."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from beyond_serve.preprocess.dct_scale import FAST_RATIO, denominator, least_ratio
from beyond_serve.preprocess.geometry import Region, geometry
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import LibraryJpegPath
from beyond_serve.preprocess.native import available, decode
from beyond_serve.preprocess.native_plan import native_params
from beyond_serve.preprocess.plan import Interpolation, PreprocessPlan
from tests.preprocess import reference
from tests.preprocess.images import encode, photograph, psnr

SCALING = [kernel for kernel, ratio in FAST_RATIO.items() if ratio]


@cache
def photographs() -> list[bytes]:
    pictures = load_sample_images().images
    return [encode(Image.fromarray(pixels), "JPEG", quality=88, subsampling=2) for pixels in pictures]


@pytest.mark.parametrize("kernel", SCALING)
@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("photo", [0, 1])
def test_the_libraries_keep_38_db(kernel: Interpolation, by: int, photo: int) -> None:
    edge = int(427 / by / FAST_RATIO[kernel])
    plan = PreprocessPlan(size=(edge, edge), crop=(edge, edge), interpolation=kernel)
    data = photographs()[photo]
    out = np.empty(plan.output_shape, np.uint8)
    made = LibraryJpegPath(kernel, "fast", tolerate_corrupt=False)(
        data, read_header(data), geometry(plan, 640, 427), out
    )
    assert made.scale == by
    assert psnr(out, reference.preprocess(data, plan)) >= 38


def test_bilinear_scales_from_these_edges_on() -> None:
    plan = PreprocessPlan(size=(100, 100), crop=(100, 100))
    scales = {259: 1, 260: 2, 519: 2, 520: 4, 1039: 4, 1040: 8, 9999: 8}
    ratio = least_ratio(Interpolation.BILINEAR, "fast")
    assert {edge: denominator(geometry(plan, edge, edge), ratio) for edge in scales} == scales


@pytest.mark.parametrize("kernel", [Interpolation.BOX, Interpolation.NEAREST])
def test_filters_that_pick_pixels_are_never_scaled(kernel: Interpolation) -> None:
    assert denominator(geometry(PreprocessPlan(), 9999, 9999), least_ratio(kernel, "fast")) == 1


def test_exact_never_scales() -> None:
    assert all(least_ratio(kernel, "exact") == 0 for kernel in Interpolation)


@pytest.mark.skipif(not available(), reason="the native core is not built here")
@settings(deadline=None, max_examples=60)
@given(st.integers(8, 120), st.integers(8, 120), st.integers(1, 8), st.sampled_from(SCALING), st.booleans())
def test_the_core_chooses_the_same(
    high: int, wide: int, orientation: int, kernel: Interpolation, part: bool
) -> None:
    region = Region(10, 20.5, 200, 190) if part else None
    plan = PreprocessPlan(size=(high, high), crop=(high, min(high, wide)), interpolation=kernel)
    shape = geometry(plan, 320, 320, orientation, region)
    params = native_params(shape, kernel, "fast")
    assert params is not None
    outcome = decode(_square(), params, np.empty(plan.output_shape, np.uint8))
    assert 8 // outcome.scale == denominator(shape, least_ratio(kernel, "fast"))


@cache
def _square() -> bytes:
    return encode(photograph(320, 320), "JPEG")
