"""The core's exact output is Pillow's, bit by bit: decode, EXIF, resize, crop."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from beyond_serve.preprocess.geometry import geometry
from beyond_serve.preprocess.native import NativeFilter, NativeFlag, NativeParams, available, decode
from beyond_serve.preprocess.native_plan import FILTERS, native_params
from beyond_serve.preprocess.plan import Interpolation, PreprocessPlan, Resize
from tests.preprocess.native.jpegs import encode, picture, pixels

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")

PILLOW = {kind: Image.Resampling[kind.name] for kind in FILTERS}
sides = st.integers(1, 260)


@st.composite
def plans(draw: st.DrawFn) -> PreprocessPlan:
    kind = draw(st.sampled_from(list(FILTERS)))
    if draw(st.booleans()):
        return PreprocessPlan(Resize.EXACT, (draw(sides), draw(sides)), None, kind)
    edge = draw(sides)
    crop = draw(st.integers(1, edge))
    return PreprocessPlan(Resize.SHORTEST_EDGE, (edge, edge), (crop, crop), kind)


def pillow(data: bytes, plan: PreprocessPlan, orientation: int) -> np.ndarray:
    image = Image.open(BytesIO(data))
    image.getexif()[0x112] = orientation
    upright = ImageOps.exif_transpose(image).convert("RGB")
    shape = geometry(plan, image.width, image.height, orientation)
    resized = np.asarray(upright.resize(shape.resized, PILLOW[plan.interpolation]))
    left, top = shape.start
    columns, rows = shape.upright_size
    return resized[top : top + rows, left : left + columns]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.tuples(st.integers(3, 330), st.integers(3, 330)),
    plans(),
    st.integers(0, 2),
    st.integers(30, 95),
    st.booleans(),
    st.booleans(),
    st.integers(1, 8),
)
def test_equals_pillow(size, plan, subsampling, quality, progressive, grey, orientation) -> None:
    image = picture(*size, seed=quality)
    data = encode(image.convert("L") if grey else image, quality, subsampling, progressive=progressive)
    params = native_params(geometry(plan, *size, orientation), plan.interpolation, "exact")
    if params is None:
        assert plan.interpolation is Interpolation.BOX
        return
    out = np.empty(plan.output_shape, np.uint8)
    decode(data, params, out)
    np.testing.assert_array_equal(out, pillow(data, plan, orientation))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("box", [(33, 17, 97, 65), (31, 1, 64, 48), (0, 100, 16, 131), (190, 140, 203, 151)])
def test_region_equals_the_cut_of_the_whole(subsampling: int, box: tuple[int, int, int, int]) -> None:
    """Chroma at the region's edges is interpolated with the neighbours outside it."""
    data = encode(picture(203, 151), subsampling=subsampling)
    width, height = box[2] - box[0], box[3] - box[1]
    out = np.empty((height, width, 3), np.uint8)
    decode(data, NativeParams(*box, width, height, 0, 0, width, height), out)
    np.testing.assert_array_equal(out, np.asarray(pixels(data).crop(box)))


@pytest.mark.parametrize("progressive", [False, True])
def test_restart_markers(progressive: bool) -> None:
    data = encode(picture(120, 90), progressive=progressive, restart=3)
    out = np.empty((40, 50, 3), np.uint8)
    decode(data, NativeParams(10, 20, 60, 60, 50, 40, 0, 0, 50, 40), out)
    np.testing.assert_array_equal(out, np.asarray(pixels(data).crop((10, 20, 60, 60))))


def test_planar_is_the_transpose() -> None:
    data = encode(picture(90, 70))
    params = NativeParams(0, 0, 90, 70, 40, 30, 0, 0, 40, 30)
    interleaved, planar = np.empty((30, 40, 3), np.uint8), np.empty((3, 30, 40), np.uint8)
    decode(data, params, interleaved)
    decode(data, params._replace(flags=params.flags | NativeFlag.PLANAR), planar)
    np.testing.assert_array_equal(planar, interleaved.transpose(2, 0, 1))


@pytest.mark.parametrize("flags", [0, NativeFlag.VERTICAL_FIRST, NativeFlag.PLANAR])
@pytest.mark.parametrize("kernel", list(NativeFilter))
@pytest.mark.parametrize("size", [(1, 1), (33, 7), (150, 91), (5, 301)])
def test_portable_code_gives_the_same(flags: int, kernel: NativeFilter, size: tuple[int, int]) -> None:
    data = encode(picture(131, 77, noise=60), quality=95)
    params = NativeParams(3.25, 1.5, 120.0, 77.0, *size, 0, 0, *size, kernel, flags=flags)
    slots = np.zeros((2, 3 * size[0] * size[1]), np.uint8)
    decode(data, params, slots[0])
    decode(data, params._replace(flags=flags | NativeFlag.PORTABLE), slots[1])
    np.testing.assert_array_equal(*slots)
