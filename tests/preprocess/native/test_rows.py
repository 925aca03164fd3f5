"""PNG and WebP by rows in the native core: Pillow's pixels bit by bit, for any kind, size, crop and turn."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.preprocess.geometry import geometry
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.native import NativeFlag, NativeParams, available, decode
from beyond_serve.preprocess.native_plan import FILTERS, native_params
from beyond_serve.preprocess.plan import Fidelity, Interpolation, PreprocessPlan, Resize
from tests.preprocess.images import chunk, encode, exif
from tests.preprocess.native.jpegs import picture
from tests.preprocess.native.rasters import KINDS, by_pillow, pillow_pixels, png, webp

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")

sides = st.integers(1, 150)
BOXES = [
    (33, 17, 97, 65),
    (31, 1, 64, 48),
    (0, 100, 16, 131),
    (190, 140, 203, 151),
    (5, 0, 6, 1),
    (7, 150, 9, 151),
]


@st.composite
def plans(draw: st.DrawFn) -> PreprocessPlan:
    kind = draw(st.sampled_from(list(FILTERS)))
    if draw(st.booleans()):
        return PreprocessPlan(Resize.EXACT, (draw(sides), draw(sides)), None, kind)
    edge = draw(sides)
    crop = draw(st.integers(1, edge))
    return PreprocessPlan(Resize.SHORTEST_EDGE, (edge, edge), (crop, crop), kind)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    size = draw(st.integers(3, 200)), draw(st.integers(3, 200))
    seed = draw(st.integers(0, 9))
    if draw(st.booleans()):
        return png(*size, *draw(st.sampled_from(KINDS)), seed=seed)
    quality = draw(st.integers(1, 100))
    return webp(*size, lossless=draw(st.booleans()), alpha=draw(st.booleans()), seed=seed, quality=quality)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(files(), plans(), st.integers(1, 8))
def test_equals_pillow(data: bytes, plan: PreprocessPlan, orientation: int) -> None:
    header = read_header(data)
    shape = geometry(plan, header.width, header.height, orientation)
    params = native_params(shape, plan.interpolation, "exact")
    if params is None:
        assert plan.interpolation is Interpolation.BOX
        return
    out = np.empty(plan.output_shape, np.uint8)
    decode(data, params, out)
    np.testing.assert_array_equal(out, by_pillow(data, plan, orientation))


@pytest.mark.parametrize(("colour", "bits"), KINDS)
@pytest.mark.parametrize("width", [1, 7, 64])
def test_every_kind_of_png(colour: int, bits: int, width: int) -> None:
    data = png(width, 30, colour, bits, seed=width)
    out = np.empty((30, width, 3), np.uint8)
    decode(data, NativeParams(0, 0, width, 30, width, 30, 0, 0, width, 30), out)
    np.testing.assert_array_equal(out, pillow_pixels(data))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(
    "data",
    [
        png(203, 151),
        webp(203, 151),
        webp(203, 151, quality=2),
        webp(203, 151, alpha=True),
        webp(203, 151, lossless=True),
        webp(203, 151, lossless=True, alpha=True),
    ],
    ids=["png", "lossy", "strongly filtered", "lossy alpha", "lossless", "lossless alpha"],
)
def test_region_equals_the_cut_of_the_whole(data: bytes, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    out = np.empty((height, width, 3), np.uint8)
    decode(data, NativeParams(*box, width, height, 0, 0, width, height), out)
    np.testing.assert_array_equal(out, pillow_pixels(data)[top:bottom, left:right])


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 90), (90, 1), (3, 16), (17, 15), (16, 33)])
@pytest.mark.parametrize("lossless", [False, True])
def test_webps_of_odd_sizes(size: tuple[int, int], lossless: bool) -> None:
    data = webp(*size, lossless=lossless)
    out = np.empty((size[1], size[0], 3), np.uint8)
    decode(data, NativeParams(0, 0, *size, *size, 0, 0, *size), out)
    np.testing.assert_array_equal(out, pillow_pixels(data))


def test_flat_lossless_webps() -> None:
    """Back references that run far over a band's end, and palettes of packed indices."""
    for width, height in ((1, 3000), (640, 100), (5, 77)):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[height // 2 :] = (10, 200, 30)
        data = encode(pixels, "WEBP", lossless=True)
        out = np.empty_like(pixels)
        decode(data, NativeParams(0, 0, width, height, width, height, 0, 0, width, height), out)
        np.testing.assert_array_equal(out, pixels)


def test_a_png_that_declares_a_smaller_window_than_it_uses() -> None:
    """Known of some writers; Pillow reads them."""
    tile = np.random.default_rng(0).integers(0, 256, (20, 361), np.uint8)
    tile[:, 0] = 0
    packed = bytearray(zlib.compress(np.tile(tile, (10, 1)).tobytes(), 9))
    packed[0] = 0x08  # 256 bytes
    packed[1] = 31 - (packed[0] << 8) % 31
    head = chunk(b"IHDR" + struct.pack(">IIBBBBB", 120, 200, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT" + bytes(packed)) + chunk(b"IEND")
    out = np.empty((200, 120, 3), np.uint8)
    decode(data, NativeParams(0, 0, 120, 200, 120, 200, 0, 0, 120, 200), out)
    np.testing.assert_array_equal(out, pillow_pixels(data))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("fidelity", ["exact", "fast"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_the_preprocessor_serves_them_by_the_core(kind: str, fidelity: Fidelity, orientation: int) -> None:
    plan = PreprocessPlan(size=(64, 64), crop=(56, 56))
    data = encode(picture(150, 120), kind, exif=exif(orientation))
    header = read_header(data)
    assert header.orientation == orientation
    preprocessor = HostPreprocessor(plan, fidelity)
    assert preprocessor.native_params(header) is not None
    out = np.empty(plan.output_shape, np.uint8)
    preprocessor.run(data, header, out)
    np.testing.assert_array_equal(out, by_pillow(data, plan, orientation))


@pytest.mark.parametrize("flags", [0, NativeFlag.VERTICAL_FIRST, NativeFlag.PLANAR])
@pytest.mark.parametrize("data", [png(131, 77), webp(131, 77), webp(131, 77, lossless=True)])
def test_portable_code_gives_the_same(flags: int, data: bytes) -> None:
    params = NativeParams(3.25, 1.5, 120.0, 77.0, 60, 91, 0, 0, 60, 91, flags=flags)
    slots = np.zeros((2, 3 * 60 * 91), np.uint8)
    decode(data, params, slots[0])
    decode(data, params._replace(flags=flags | NativeFlag.PORTABLE), slots[1])
    np.testing.assert_array_equal(*slots)
