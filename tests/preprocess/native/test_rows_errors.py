"""PNG and WebP in the native core: what is refused, with what and where; what below the region is not looked
at; and that nothing is written outside the slot."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from beyond_serve.errors import BeyondError, ImageDecodeError, PayloadTooLargeError, UnsupportedImageError
from beyond_serve.preprocess.native import (
    NativeFlag,
    NativeOutcome,
    NativeParams,
    NativeStatus,
    available,
    decode,
    native_module,
)
from beyond_serve.preprocess.native_pool import NativePool
from tests.fuzz.rows_corpus import rows_seeds
from tests.preprocess.images import Pixels, chunk, png_header
from tests.preprocess.native.rasters import pillow_pixels, png, webp

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")

WIDTH, HEIGHT = 120, 900
WHOLE = NativeParams(0, 0, WIDTH, HEIGHT, WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT)
TOP = NativeParams(0, 0, WIDTH, 64, WIDTH, 64, 0, 0, WIDTH, 64)
TOLERANT = NativeFlag.FANCY_UPSAMPLING | NativeFlag.TOLERATE_CORRUPT
TALL = {
    "PNG": png(WIDTH, HEIGHT),
    "WebP": webp(WIDTH, HEIGHT, quality=95),
    "WebP lossless": webp(WIDTH, HEIGHT, lossless=True),
}
SEEDS = dict(rows_seeds())
tall = pytest.mark.parametrize("name", list(TALL))


def run(data: bytes, params: NativeParams) -> Pixels:
    """Decode into the middle of a guarded slab and look at the guards."""
    guard, size = 4096, params.width * params.height * 3
    slab = np.full(size + 2 * guard, 0xA5, np.uint8)
    slot = slab[guard:-guard].reshape(params.height, params.width, 3)
    try:
        decode(data, params, slot)
    finally:
        assert (slab[:guard] == 0xA5).all()
        assert (slab[-guard:] == 0xA5).all()
    return slot


def outcome_of(data: bytes, params: NativeParams) -> NativeOutcome:
    slot = np.empty((params.height, params.width, 3), np.uint8)
    return NativeOutcome._make(native_module().decode(data, params, slot))


@tall
def test_a_file_cut_below_the_region_is_as_good_as_whole(name: str) -> None:
    data = TALL[name]
    np.testing.assert_array_equal(run(data[: len(data) // 2], TOP), pillow_pixels(data)[:64])


@tall
def test_damage_below_the_region_is_not_looked_at(name: str) -> None:
    data = TALL[name]
    spoilt = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    np.testing.assert_array_equal(run(spoilt, TOP), pillow_pixels(data)[:64])


@tall
def test_truncated_says_where(name: str) -> None:
    data = TALL[name]
    end = len(data) // 2
    what = name.split(maxsplit=1)[0]
    with pytest.raises(
        ImageDecodeError, match=rf"the {what} is truncated: it ends at byte {end}, before its row \d+"
    ):
        run(data[:end], WHOLE)
    outcome = outcome_of(data[:end], WHOLE)
    assert outcome.format == what
    assert 64 < outcome.row < HEIGHT


@tall
def test_truncated_is_black_below_when_tolerated(name: str) -> None:
    data = TALL[name]
    cut, params = data[: len(data) // 2], WHOLE._replace(flags=TOLERANT)
    outcome = outcome_of(cut, params)
    assert (outcome.status, outcome.warnings) == (NativeStatus.OK, 1)
    pixels = run(cut, params)
    np.testing.assert_array_equal(pixels[:64], pillow_pixels(data)[:64])
    assert not pixels[-64:].any()


@pytest.mark.parametrize("name", ["PNG", "WebP", "WebP lossless"])
def test_any_truncation_of_the_head_is_an_error(name: str) -> None:
    for cut in range(12, 120, 3):
        with pytest.raises(ImageDecodeError):
            run(TALL[name][:cut], WHOLE)


def test_a_wrong_checksum_of_pixels() -> None:
    data = bytearray(TALL["PNG"])
    size = struct.unpack_from(">I", data, data.index(b"IDAT") - 4)[0]
    data[data.index(b"IDAT") + 4 + size] ^= 1
    with pytest.raises(
        ImageDecodeError, match=r"the PNG cannot be decoded: IDAT: CRC error at byte \d+, row \d+"
    ):
        run(bytes(data), WHOLE)
    params = WHOLE._replace(flags=TOLERANT)
    np.testing.assert_array_equal(run(bytes(data), params), pillow_pixels(TALL["PNG"]))
    assert outcome_of(bytes(data), params).warnings == 1


def test_the_last_checksum_is_looked_at_with_the_last_row() -> None:
    data = bytearray(png(20, 20))
    data[data.index(b"IEND") - 5] ^= 1
    with pytest.raises(ImageDecodeError, match="CRC error"):
        run(bytes(data), NativeParams(0, 0, 20, 20, 20, 20, 0, 0, 20, 20))
    run(bytes(data), NativeParams(0, 0, 20, 10, 20, 10, 0, 0, 20, 10))


def test_a_wrong_checksum_of_text() -> None:
    text = bytearray(chunk(b"tEXtkey\0value"))
    text[-1] ^= 1
    with pytest.raises(ImageDecodeError, match="CRC error"):
        run(png(120, 900, extra=bytes(text)), WHOLE)


def test_pixels_that_end_early() -> None:
    """A whole file whose pixels are too few is no truncated file."""
    few = png(120, 800)
    data = few[:16] + struct.pack(">II", 120, 900) + few[24:]
    fixed = data[:8] + chunk(data[12:29]) + data[33:]
    with pytest.raises(ImageDecodeError, match=r"cannot be decoded: .*row 8"):
        run(fixed, WHOLE)


@pytest.mark.parametrize("name", ["png-interlaced", "png-animated", "webp-animated"])
def test_what_is_for_another_decoder(name: str) -> None:
    with pytest.raises(UnsupportedImageError):
        run(SEEDS[name], NativeParams(0, 0, 20, 20, 20, 20, 0, 0, 20, 20))


@pytest.mark.parametrize(
    "data",
    [
        png_header(100_000, 100_000),
        png_header(2**31 - 1, 1),
        png_header(1, 2**31 - 1),
        png_header(1 << 27, 2, bits=16, colour_type=6),
        SEEDS["webp-lossless-large"],
    ],
)
def test_limits_hold_before_memory_is_spent(data: bytes) -> None:
    box = NativeParams(0, 0, 1, 1, 1, 1, 0, 0, 1, 1)
    with pytest.raises(PayloadTooLargeError):
        run(data, box)


@pytest.mark.parametrize("name", ["webp-canvas", "webp-longer-than-its-container", "png-no-palette"])
def test_contradictions(name: str) -> None:
    with pytest.raises(ImageDecodeError):
        run(SEEDS[name], NativeParams(0, 0, 20, 20, 20, 20, 0, 0, 20, 20))


@tall
def test_box_must_lie_in_the_image(name: str) -> None:
    with pytest.raises(ImageDecodeError, match="source box"):
        run(TALL[name], WHOLE._replace(y1=HEIGHT + 1))


@tall
@pytest.mark.parametrize("flags", [NativeFlag.FANCY_UPSAMPLING, TOLERANT])
def test_flipped_bits_never_write_outside(name: str, flags: NativeFlag) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        data = np.frombuffer(TALL[name], np.uint8).copy()
        for place in rng.integers(12, len(data), 12):
            data[place] ^= 1 << int(rng.integers(8))
        try:
            run(data.tobytes(), WHOLE._replace(flags=flags))
        except BeyondError as error:
            assert error.message  # noqa: PT017


def test_the_pool_takes_all_formats() -> None:
    pool = NativePool(2, capacity=16)
    slots = {name: np.empty((64, WIDTH, 3), np.uint8) for name in TALL}
    for name, data in TALL.items():
        assert pool.submit(name, data, TOP, slots[name])
    pool.submit("cut", TALL["PNG"][:2000], TOP, np.empty((64, WIDTH, 3), np.uint8))
    outcomes: dict[object, NativeOutcome] = {}
    while len(outcomes) < 4:
        outcomes.update(pool.completed())
    pool.close()
    assert isinstance(outcomes.pop("cut").error(), ImageDecodeError)
    assert {outcome.status for outcome in outcomes.values()} == {NativeStatus.OK}
    for name, data in TALL.items():
        np.testing.assert_array_equal(slots[name], pillow_pixels(data)[:64])
