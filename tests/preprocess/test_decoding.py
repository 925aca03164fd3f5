"""The one-call interface: what it gives and tells, and each way in which its arguments can be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from beyond_serve.errors import (
    ImageDecodeError,
    InvalidRequestError,
    PayloadTooLargeError,
    UnsupportedImageError,
)
from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.decoding import decode
from beyond_serve.preprocess.geometry import Region
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.limits import PixelLimits
from beyond_serve.preprocess.native import available
from beyond_serve.preprocess.plan import PreprocessPlan, Resize
from tests.preprocess import reference
from tests.preprocess.images import encode, jpeg, photograph

PLAN = PreprocessPlan(size=(64, 64), crop=(56, 56))
PHOTO = encode(photograph(150, 100), "JPEG")


def test_a_new_array_or_the_caller_s() -> None:
    expected = reference.preprocess(PHOTO, PLAN)
    made = decode(PHOTO, PLAN)
    np.testing.assert_array_equal(made.pixels, expected)
    batch = np.zeros((3, 56, 56, 3), np.uint8)
    row = batch[1]
    assert decode(PHOTO, PLAN, row).pixels is row
    np.testing.assert_array_equal(batch[1], expected)
    assert not batch[0].any()
    assert not batch[2].any()


def test_it_tells_what_was_done() -> None:
    made = decode(PHOTO, PLAN)
    assert made.header == read_header(PHOTO)
    assert made.decoder is (Decoder.NATIVE if available() else Decoder.SIMPLEJPEG)
    assert made.scale == 1
    assert made.decode_ns > 0
    assert made.transform_ns > 0


def test_it_tells_the_scale_and_the_decoder_of_others() -> None:
    assert decode(jpeg(600, 500), PLAN, fidelity="fast").scale == 4
    assert decode(encode(photograph(60, 60), "GIF"), PLAN).decoder is Decoder.PILLOW
    assert decode(encode(Image.new("CMYK", (60, 60)), "JPEG"), PLAN).decoder is Decoder.PILLOW


def test_an_output_larger_than_the_core_makes_is_made_by_libraries() -> None:
    plan = PreprocessPlan(Resize.EXACT, (1, 20_000), None)
    assert decode(PHOTO, plan).decoder is Decoder.SIMPLEJPEG


@pytest.mark.parametrize(
    ("out", "why"),
    [
        (np.empty((56, 55, 3), np.uint8), r"out is uint8 \[56, 55, 3\], the plan makes uint8 \[56, 56, 3\]"),
        (np.empty((56, 56), np.uint8), r"out is uint8 \[56, 56\]"),
        (np.empty((1, 56, 56, 3), np.uint8), r"out is uint8 \[1, 56, 56, 3\]"),
        (np.empty((56, 56, 3), np.float32), r"out is float32"),
        (np.empty((56, 56, 3), np.int8), r"out is int8"),
        (np.empty((56, 112, 3), np.uint8)[:, ::2], "not C-contiguous"),
        (np.empty((56, 56, 3), np.uint8, order="F"), "not C-contiguous"),
        (np.frombuffer(bytes(56 * 56 * 3), np.uint8).reshape(56, 56, 3), "out is read-only"),
    ],
)
def test_an_output_that_does_not_fit(out: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(PHOTO, PLAN, out)


@pytest.mark.parametrize("out", [bytearray(56 * 56 * 3), [[0]]])
def test_an_output_that_is_no_array(out: object) -> None:
    with pytest.raises(TypeError, match=r"out is \w+; a NumPy array is wanted"):
        decode(PHOTO, PLAN, out)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["a.jpg", bytearray(PHOTO), memoryview(PHOTO), None])
def test_data_that_are_no_bytes(data: object) -> None:
    with pytest.raises(TypeError, match="the encoded image is given as bytes"):
        decode(data, PLAN)  # type: ignore[arg-type]


def test_empty() -> None:
    with pytest.raises(UnsupportedImageError, match="empty"):
        decode(b"", PLAN)


def test_no_image() -> None:
    with pytest.raises(UnsupportedImageError, match="no image that is known"):
        decode(b"hello, world", PLAN)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_truncated(kind: str, share: float) -> None:
    data = encode(photograph(150, 100), kind)
    with pytest.raises(ImageDecodeError, match="truncated") as raised:
        decode(data[: int(len(data) * share)], PLAN)
    assert raised.value.hint == "send the complete file"


def test_truncated_and_tolerated() -> None:
    cut = PHOTO[: len(PHOTO) // 2]
    made = decode(cut, PLAN, tolerate_corrupt=True)
    whole = decode(PHOTO, PLAN)
    np.testing.assert_array_equal(made.pixels[:14], whole.pixels[:14])


def test_too_large() -> None:
    with pytest.raises(PayloadTooLargeError, match="150x100, 15000 pixels; the limit is 14999 pixels"):
        decode(PHOTO, PLAN, limits=PixelLimits(max_pixels=14_999))


def test_a_strip_is_refused_by_its_region() -> None:
    limits = PixelLimits(max_resized_pixels=64 * 64 * 100)
    strip = Region(0, 0, 150, 1)
    with pytest.raises(PayloadTooLargeError, match=r"the region is \(0, 0, 150, 1\): resizing it"):
        decode(PHOTO, PLAN, region=strip, limits=limits)
    decode(PHOTO, PLAN, region=Region(0, 0, 90, 1), limits=limits)


def test_a_region_outside() -> None:
    with pytest.raises(InvalidRequestError, match="not lie inside the image, which is 150x100 upright"):
        decode(PHOTO, PLAN, region=Region(0, 0, 151, 100))
