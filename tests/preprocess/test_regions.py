"""Regions in "exact" are Pillow's `resize(box=region)` bit by bit: any format, orientation and filter."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.decoding import decode
from beyond_serve.preprocess.geometry import REGION_STEP, Region, geometry
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import LibraryJpegPath
from beyond_serve.preprocess.native import available
from beyond_serve.preprocess.orientation import upright_size
from beyond_serve.preprocess.plan import Interpolation, PreprocessPlan, Resize
from tests.preprocess import reference
from tests.preprocess.images import encode, exif, photograph, psnr

SIZE = (230, 171)
WHOLE_NUMBERS = st.booleans()
JPEGS = {
    "4:2:0": {"subsampling": 2},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
}
ENCODINGS = {
    **{f"JPEG {name}": ("JPEG", options) for name, options in JPEGS.items()},
    "PNG": ("PNG", {}),
    "WEBP": ("WEBP", {}),
    "WEBP lossless": ("WEBP", {"lossless": True}),
    "BMP": ("BMP", {}),
    "GIF": ("GIF", {}),
}


@cache
def encoded(encoding: str, orientation: int) -> bytes:
    kind, options = ENCODINGS[encoding]
    image = Image.fromarray(photograph(*SIZE, noise=15))
    turned = {} if kind in ("BMP", "GIF") else {"exif": exif(orientation)}
    return encode(image, kind, **options, **turned)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, int, Region]:
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    orientation = 1 if encoding in ("BMP", "GIF") else draw(st.integers(1, 8))
    width, height = upright_size(*SIZE, orientation)
    step = 1 if draw(WHOLE_NUMBERS) else REGION_STEP
    edges = []
    for length in (width, height):
        units, least = round(length / step), round(1 / step)
        start = draw(st.integers(0, units - least))
        edges.append((start * step, draw(st.integers(start + least, units)) * step))
    (left, right), (top, bottom) = edges
    return encoding, orientation, Region(left, top, right, bottom)


@st.composite
def plans(draw: st.DrawFn) -> PreprocessPlan:
    kernel = draw(st.sampled_from(list(Interpolation)))
    crop = draw(st.sampled_from([(40, 40), (33, 47), (16, 40)]))
    resize = draw(st.sampled_from([Resize.SHORTEST_EDGE, Resize.EXACT, Resize.COVER]))
    return PreprocessPlan(resize, draw(st.sampled_from([(40, 40), (48, 52)])), crop, kernel)


@settings(deadline=None, max_examples=300)
@given(cases(), plans())
def test_equal_to_pillow(case: tuple[str, int, Region], plan: PreprocessPlan) -> None:
    encoding, orientation, region = case
    data = encoded(encoding, orientation)
    expected = reference.preprocess(data, plan, region)
    np.testing.assert_array_equal(decode(data, plan, region=region).pixels, expected)


@settings(deadline=None, max_examples=100)
@given(cases().filter(lambda case: case[0].startswith("JPEG")), plans())
def test_the_libraries_alone_are_equal_too(case: tuple[str, int, Region], plan: PreprocessPlan) -> None:
    encoding, orientation, region = case
    data = encoded(encoding, orientation)
    out = np.empty(plan.output_shape, np.uint8)
    library = LibraryJpegPath(plan.interpolation, "exact", tolerate_corrupt=False)
    library(data, read_header(data), geometry(plan, *SIZE, orientation, region), out)
    np.testing.assert_array_equal(out, reference.preprocess(data, plan, region))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_without_resizing_the_pixels_are_the_image_s(encoding: str) -> None:
    plan = PreprocessPlan(Resize.NONE, crop=(40, 60))
    region = Region(20, 30, 200, 140)
    data = encoded(encoding, 1)
    np.testing.assert_array_equal(
        decode(data, plan, region=region).pixels, reference.preprocess(data, plan, region)
    )


def test_a_region_smaller_than_the_crop_is_padded() -> None:
    plan = PreprocessPlan(Resize.NONE, crop=(40, 60))
    region = Region(20, 30, 50, 45)
    data = encoded("PNG", 1)
    np.testing.assert_array_equal(
        decode(data, plan, region=region).pixels, reference.preprocess(data, plan, region)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("by_library", [False, True])
def test_fast_scales_by_the_region_s_size(orientation: int, by_library: bool) -> None:
    data = encode(photograph(900, 700, noise=4), "JPEG", quality=92, exif=exif(orientation))
    wide, high = upright_size(900, 700, orientation)
    plan = PreprocessPlan(size=(36, 36), crop=(32, 32))
    region = Region(100.5, 50.25, wide - 80.75, high - 60)
    if by_library:
        out = np.empty(plan.output_shape, np.uint8)
        shape = geometry(plan, 900, 700, orientation, region)
        made = LibraryJpegPath(plan.interpolation, "fast", tolerate_corrupt=False)(
            data, read_header(data), shape, out
        )
        assert (made.decoder, made.scale) == (Decoder.SIMPLEJPEG, 8)
    else:
        found = decode(data, plan, fidelity="fast", region=region)
        out = found.pixels
        assert found.scale == 8
    assert psnr(out, reference.preprocess(data, plan, region)) > 36
    small = decode(data, plan, fidelity="fast", region=Region(300, 200, 380, 280))
    assert small.scale == 1  # the image would allow 8, the region does not


@pytest.mark.skipif(not available(), reason="the native core is not built here")
def test_only_the_region_is_decoded() -> None:
    """What follows its last row may be missing: the core stops there."""
    data = encode(photograph(400, 1600), "JPEG")
    plan = PreprocessPlan(size=(36, 36), crop=(32, 32))
    region = Region(0, 0, 400, 300)
    whole = decode(data, plan, region=region).pixels
    np.testing.assert_array_equal(decode(data[: len(data) // 2], plan, region=region).pixels, whole)
