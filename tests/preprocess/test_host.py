"""Whole paths against the reference: every format, mode, orientation and plan."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beyond_serve.preprocess.dct_scale import denominator, least_ratio
from beyond_serve.preprocess.geometry import geometry
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.plan import CropRounding, Fidelity, Interpolation, PreprocessPlan, Resize
from tests.preprocess import reference
from tests.preprocess.images import Pixels, encode, exif, jpeg, photograph, psnr

PLAN = PreprocessPlan(size=(64, 64), crop=(56, 56))
PHOTO = photograph(150, 100)
GREY = Image.fromarray(PHOTO[:, :, 0])


def run(data: bytes, plan: PreprocessPlan = PLAN, fidelity: Fidelity = "exact") -> Pixels:
    # Filled with a pattern: what the path forgets to write shows.
    out = np.full(plan.output_shape, 0xA5, np.uint8)
    HostPreprocessor(plan, fidelity).run(data, read_header(data), out)
    return out


def levels(left: Pixels, right: Pixels) -> int:
    return int(np.abs(left.astype(int) - right).max())


def with_alpha() -> Image.Image:
    image = Image.fromarray(PHOTO).convert("RGBA")
    image.putalpha(GREY)
    return image


def palette_with_transparency() -> bytes:
    return encode(Image.fromarray(PHOTO).convert("P"), "PNG", transparency=bytes(range(256)))


ENCODINGS: dict[str, Callable[[], bytes]] = {
    "jpeg 4:2:0": lambda: encode(PHOTO, "JPEG", subsampling=2),
    "jpeg 4:4:4": lambda: encode(PHOTO, "JPEG", subsampling=0, quality=95),
    "jpeg 4:2:2": lambda: encode(PHOTO, "JPEG", subsampling=1),
    "jpeg progressive": lambda: encode(PHOTO, "JPEG", progressive=True),
    "jpeg restarts": lambda: encode(PHOTO, "JPEG", restart_marker_blocks=3),
    "jpeg grey": lambda: encode(GREY, "JPEG"),
    "jpeg cmyk": lambda: encode(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    "jpeg rgb": lambda: encode(PHOTO, "JPEG", keep_rgb=True),
    "png rgb": lambda: encode(PHOTO, "PNG"),
    "png rgba": lambda: encode(with_alpha(), "PNG"),
    "png grey": lambda: encode(GREY, "PNG"),
    "png grey alpha": lambda: encode(with_alpha().convert("LA"), "PNG"),
    "png bilevel": lambda: encode(GREY.convert("1"), "PNG"),
    "png palette": lambda: encode(Image.fromarray(PHOTO).convert("P"), "PNG"),
    "png palette transparent": palette_with_transparency,
    "png grey transparent": lambda: encode(GREY, "PNG", transparency=7),
    "webp lossy": lambda: encode(PHOTO, "WEBP"),
    "webp lossless": lambda: encode(PHOTO, "WEBP", lossless=True),
    "webp alpha": lambda: encode(with_alpha(), "WEBP"),
    "bmp rgb": lambda: encode(PHOTO, "BMP"),
    "bmp grey": lambda: encode(GREY, "BMP"),
    "bmp bilevel": lambda: encode(GREY.convert("1"), "BMP"),
    "bmp palette": lambda: encode(Image.fromarray(PHOTO).convert("P"), "BMP"),
    "gif": lambda: encode(PHOTO, "GIF"),
    "gif interlaced": lambda: encode(PHOTO, "GIF", interlace=1),
    "gif transparent": lambda: encode(Image.fromarray(PHOTO).convert("P"), "GIF", transparency=3),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_exact_equals_the_reference(encoding: str) -> None:
    data = ENCODINGS[encoding]()
    assert levels(run(data), reference.preprocess(data, PLAN)) == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_fast_is_close_to_the_reference(encoding: str) -> None:
    data = ENCODINGS[encoding]()
    # A bilevel image is all edges, and antialiases differently in each filter.
    assert psnr(run(data, PLAN, "fast"), reference.preprocess(data, PLAN)) > (
        25 if "bilevel" in encoding else 34
    )


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("size", [(150, 100), (90, 113), (20, 31), (64, 64), (640, 301), (93, 38), (74, 190)])
def test_exact_in_every_interpolation(interpolation: Interpolation, size: tuple[int, int]) -> None:
    data = jpeg(*size, noise=20)
    plan = PreprocessPlan(size=(64, 64), crop=(56, 56), interpolation=interpolation)
    assert levels(run(data, plan), reference.preprocess(data, plan)) == 0


@pytest.mark.parametrize(
    "plan",
    [
        PreprocessPlan(Resize.EXACT, (48, 72), None),
        PreprocessPlan(Resize.EXACT, (80, 72), (61, 50), crop_rounding=CropRounding.FLOOR),
        PreprocessPlan(Resize.COVER, (48, 72), (40, 66), Interpolation.BICUBIC),
        PreprocessPlan(Resize.NONE, crop=(77, 78)),
        PreprocessPlan(Resize.NONE, crop=(200, 111)),  # padded on one axis
        PreprocessPlan(Resize.SHORTEST_EDGE, (32, 32), (40, 100)),  # padded on both
        PreprocessPlan(Resize.EXACT, (39, 72), (40, 72)),  # padded by one row, at the far end
        PreprocessPlan(Resize.SHORTEST_EDGE, (200, 200), (199, 199), Interpolation.LANCZOS),  # enlarged
    ],
    ids=lambda plan: plan.describe(),
)
@pytest.mark.parametrize("encoding", ["jpeg 4:2:0", "png rgb", "png grey"])
def test_every_kind_of_plan(plan: PreprocessPlan, encoding: str) -> None:
    data = ENCODINGS[encoding]()
    expected = reference.preprocess(data, plan)
    assert levels(run(data, plan), expected) == 0
    assert psnr(run(data, plan, "fast"), expected) > 34


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("interpolation", [Interpolation.BILINEAR, Interpolation.NEAREST])
def test_every_orientation(orientation: int, kind: str, interpolation: Interpolation) -> None:
    data = encode(PHOTO, kind, exif=exif(orientation))
    plan = PreprocessPlan(size=(64, 64), crop=(50, 60), interpolation=interpolation)
    expected = reference.preprocess(data, plan)
    assert levels(run(data, plan), expected) == 0
    assert psnr(run(data, plan, "fast"), expected) > 34


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(901, 603), (1337, 999), (400, 700)])
def test_fast_over_scaled_decodes_and_orientations(orientation: int, size: tuple[int, int]) -> None:
    data = encode(photograph(*size, noise=4), "JPEG", quality=92, exif=exif(orientation))
    shape = geometry(PLAN, *size, orientation)
    assert denominator(shape, least_ratio(PLAN.interpolation, "fast")) > 1
    assert psnr(run(data, PLAN, "fast"), reference.preprocess(data, PLAN)) > 34


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 8), st.booleans(), st.booleans())
def test_any_small_jpeg_equals_the_reference(
    width: int, height: int, orientation: int, grey: bool, bicubic: bool
) -> None:
    pixels = photograph(width, height, noise=25)
    image = Image.fromarray(pixels[:, :, 0] if grey else pixels)
    data = encode(image, "JPEG", quality=95, exif=exif(orientation))
    kernel = Interpolation.BICUBIC if bicubic else Interpolation.BILINEAR
    plan = PreprocessPlan(size=(36, 36), crop=(32, 32), interpolation=kernel)
    expected = reference.preprocess(data, plan)
    assert levels(run(data, plan), expected) == 0
    # Close, and above all not shifted or turned, however small the image.
    assert psnr(run(data, plan, "fast"), expected) > 24


@pytest.mark.parametrize("fidelity", ["exact", "fast"])
@pytest.mark.parametrize("size", [(1, 1), (10_000, 1), (1, 3000), (3, 59424), (2, 2)])
def test_extreme_shapes_take_no_more_than_their_region(size: tuple[int, int], fidelity: Fidelity) -> None:
    data = jpeg(*size, noise=0)
    plan = PreprocessPlan()
    out = run(data, plan, fidelity)
    if size in ((1, 1), (2, 2)):
        assert levels(out, reference.preprocess(data, plan)) <= (1 if fidelity == "exact" else 3)
    else:
        # Everything in the middle of the strip is one picture's few pixels: no black, no pattern left.
        middle = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        y, x = size[1] // 2, size[0] // 2
        around = middle[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
        assert out.min() >= int(around.min()) - 2
        assert out.max() <= int(around.max()) + 2


def test_16_bit_grey_keeps_its_high_byte() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    data = encode(Image.fromarray(ramp), "PNG")
    plan = PreprocessPlan(Resize.NONE, crop=(64, 64))
    assert np.array_equal(run(data, plan)[:, :, 1], (ramp >> 8).astype(np.uint8))


def test_the_first_frame_of_an_animation_is_served() -> None:
    first, second = (Image.fromarray(photograph(60, 60, seed=seed)) for seed in (1, 2))
    plan = PreprocessPlan(Resize.NONE, crop=(60, 60))
    data = encode(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    assert np.array_equal(run(data, plan), np.asarray(first))


def test_unusual_sampling_factors_go_by_pillow() -> None:
    """4:1:0, legal and without a name in turbojpeg's interface; made by relabelling a 4:4:4 image."""
    data = bytearray(encode(photograph(240, 240), "JPEG", keep_rgb=True))
    data[data.index(b"\xff\xc0") + 11] = 0x42
    expected = reference.preprocess(bytes(data), PLAN)
    assert levels(run(bytes(data)), expected) == 0
    assert psnr(run(bytes(data), PLAN, "fast"), expected) > 25


def test_padding_bytes_before_the_end_are_harmless() -> None:
    data = encode(PHOTO, "JPEG")
    padded = data[:-2] + bytes(64) + data[-2:]
    assert np.array_equal(run(padded), run(data))


def test_the_border_lies_between_start_and_end() -> None:
    data = encode(PHOTO, "JPEG")
    out = np.empty(PLAN.output_shape, np.uint8)
    before = time.monotonic_ns()
    made = HostPreprocessor(PLAN).run(data, read_header(data), out)
    assert before < made.decoded_ns < time.monotonic_ns()


@pytest.mark.parametrize("out", [np.empty((56, 55, 3), np.uint8), np.empty((56, 56, 3), np.float32)])
def test_the_wrong_output_is_the_caller_s_mistake(out: Pixels) -> None:
    data = encode(PHOTO, "JPEG")
    with pytest.raises(ValueError, match="the plan makes uint8"):
        HostPreprocessor(PLAN).run(data, read_header(data), out)


def test_top_down_bmp() -> None:
    data = bytearray(encode(PHOTO, "BMP"))
    (height,) = struct.unpack_from("<i", data, 22)
    struct.pack_into("<i", data, 22, -height)
    assert levels(run(bytes(data)), reference.preprocess(bytes(data), PLAN)) == 0
