from __future__ import annotations

import pytest

from beyond_serve.errors import ConfigError, PayloadTooLargeError
from beyond_serve.preprocess.header import ImageHeader, read_header
from beyond_serve.preprocess.limits import PixelLimits
from beyond_serve.preprocess.plan import PreprocessPlan, Resize
from tests.preprocess.images import encode, exif, jpeg, jpeg_claiming, photograph, png_header

PLAN = PreprocessPlan()
SQUASH = PreprocessPlan(Resize.EXACT, (224, 224), None)


def header(width: int, height: int, orientation: int = 1) -> ImageHeader:
    return ImageHeader("jpeg", width, height, 3, 8, False, orientation, "ycc")


@pytest.mark.parametrize("size", [(1, 1), (500, 375), (8000, 6000), (1000, 2), (50_000_000, 70_000)])
def test_pictures_pass(size: tuple[int, int]) -> None:
    PixelLimits(max_pixels=10**13).check(header(*size), PLAN)


def test_a_lying_header_is_refused_unseen() -> None:
    with pytest.raises(PayloadTooLargeError, match=r"65500x65500, 4290 megapixels; the limit is 50 mega"):
        PixelLimits().check(read_header(jpeg_claiming(65500, 65500)), PLAN)


def test_a_bomb_is_refused_unseen() -> None:
    with pytest.raises(PayloadTooLargeError, match="100000x100000"):
        PixelLimits().check(read_header(png_header(100_000, 100_000)), PLAN)


@pytest.mark.parametrize("pixels", [photograph(3, 59424), photograph(10_000, 1)])
def test_a_strip_that_resizing_would_blow_up_is_refused(pixels) -> None:  # type: ignore[no-untyped-def]
    strip = read_header(encode(pixels, "JPEG"))
    with pytest.raises(PayloadTooLargeError, match=r"would make \d+x\d+") as raised:
        PixelLimits().check(strip, PLAN)
    assert "aspect ratio" in str(raised.value.hint)
    PixelLimits().check(strip, SQUASH)
    PixelLimits(max_resized_pixels=2_000_000_000).check(strip, PLAN)


def test_the_limit_itself_passes() -> None:
    PixelLimits(max_pixels=100).check(header(10, 10), SQUASH)
    with pytest.raises(PayloadTooLargeError, match="110 pixels; the limit is 100 pixels"):
        PixelLimits(max_pixels=100).check(header(11, 10), SQUASH)


def test_the_resized_size_is_the_upright_image_s() -> None:
    plan = PreprocessPlan(Resize.COVER, (100, 1000), (100, 1000))
    limits = PixelLimits(max_resized_pixels=100_000)
    tall = read_header(jpeg(10, 100, exif=exif(6)))
    limits.check(tall, plan)  # upright 100 x 10 becomes 1000 x 100
    with pytest.raises(PayloadTooLargeError):
        limits.check(read_header(jpeg(10, 100)), plan)


def test_limits_are_at_least_one() -> None:
    with pytest.raises(ConfigError):
        PixelLimits(max_pixels=0)
