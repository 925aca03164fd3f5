"""What the core refuses, with what and where; and that it never writes outside the slot."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from beyond_serve.errors import BeyondError, ImageDecodeError, UnsupportedImageError
from beyond_serve.preprocess.native import NativeFlag, NativeParams, available, decode
from tests.preprocess.native.jpegs import encode, picture

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")

WHOLE = NativeParams(0, 0, 200, 160, 50, 40, 0, 0, 50, 40)


def run(data: bytes, params: NativeParams = WHOLE) -> None:
    """Decode into the middle of a guarded slab and look at the guards."""
    guard, size = 4096, params.width * params.height * 3
    slab = np.full(size + 2 * guard, 0xA5, np.uint8)
    try:
        decode(data, params, slab[guard:-guard].reshape(params.height, params.width, 3))
    finally:
        assert (slab[:guard] == 0xA5).all()
        assert (slab[-guard:] == 0xA5).all()


def test_truncated_says_where() -> None:
    data = encode(picture(200, 160))
    with pytest.raises(ImageDecodeError, match=r"truncated: it ends at byte \d+, before its row \d+"):
        run(data[: len(data) // 2])


def test_truncation_below_the_region_is_not_seen() -> None:
    data = encode(picture(200, 160))
    run(data[: len(data) // 2], WHOLE._replace(y1=40))


def test_bytes_between_segments_are_harmless() -> None:
    data = encode(picture(200, 160))
    table = data.index(b"\xff\xdb")
    run(data[:table] + b"pad" + data[table:])


def test_truncated_is_taken_when_tolerated() -> None:
    data = encode(picture(200, 160))
    params = WHOLE._replace(flags=NativeFlag.FANCY_UPSAMPLING | NativeFlag.TOLERATE_CORRUPT)
    run(data[: len(data) // 2], params)


@pytest.mark.parametrize("cut", range(0, 700, 7))
def test_any_truncation_of_the_head_is_an_error(cut: int) -> None:
    data = encode(picture(200, 160))
    with pytest.raises(BeyondError):
        run(data[:cut])


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bits_never_write_outside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = np.frombuffer(encode(picture(200, 160), progressive=bool(seed % 2)), np.uint8).copy()
    for place in rng.integers(2, len(data), 12):
        data[place] ^= 1 << int(rng.integers(8))
    flags = NativeFlag.FANCY_UPSAMPLING | NativeFlag.TOLERATE_CORRUPT
    try:
        run(data.tobytes(), WHOLE._replace(flags=flags))
    except BeyondError as error:
        assert error.message  # noqa: PT017


def test_cmyk_is_for_another_decoder() -> None:
    image = Image.new("CMYK", (200, 160), (10, 20, 30, 40))
    with pytest.raises(UnsupportedImageError):
        run(encode(image))


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"GIF89a" * 9, b"\xff\xd8" + b"\xff" * 99]
)
def test_no_jpeg(data: bytes) -> None:
    with pytest.raises(ImageDecodeError, match="no JPEG frame header"):
        run(data)


def test_scans_are_counted_before_memory_is_spent_on_them() -> None:
    data = encode(picture(64, 64), progressive=True)
    scan = data.rindex(b"\xff\xda")
    endless = data[:scan] + data[scan:-2] * 200 + data[-2:]
    flags = NativeFlag.TOLERATE_CORRUPT
    with pytest.raises(ImageDecodeError, match="more scans"):
        run(endless, WHOLE._replace(x1=64, y1=64, flags=flags))


@pytest.mark.parametrize(
    "box", [(0, 0, 201, 160), (0, 0, 200, 161), (-1, 0, 200, 160), (5, 5, 5, 9), (0, 0, float("nan"), 9)]
)
def test_box_must_lie_in_the_image(box: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = box
    with pytest.raises(ImageDecodeError, match="source box"):
        run(encode(picture(200, 160)), WHOLE._replace(x0=x0, y0=y0, x1=x1, y1=y1))


@pytest.mark.parametrize(
    "change",
    [
        {"left": 1}, {"top": 1}, {"filter": 5}, {"orientation": 0}, {"orientation": 9}, {"flags": 64},
        {"min_ratio": -1.0}, {"min_ratio": float("nan")}, {"width": 0}, {"height": 1 << 15}, {"left": -1},
    ],
)  # fmt: skip
def test_impossible_params(change: dict[str, float]) -> None:
    params = WHOLE._replace(**change)
    with pytest.raises(ValueError, match=r"."):
        decode(b"", params, np.empty(max(params.width * params.height * 3, 1), np.uint8))


@pytest.mark.parametrize(
    "slot",
    [
        np.empty((40, 50, 4), np.uint8),
        np.empty((40, 50, 3), np.float32),
        np.empty((40, 100, 3), np.uint8)[:, ::2],
        np.asfortranarray(np.empty((40, 50, 3), np.uint8)),
        memoryview(bytes(6000)),
    ],
)
def test_slot_must_be_exactly_right(slot: np.ndarray) -> None:
    with pytest.raises((ValueError, BufferError)):
        decode(encode(picture(200, 160)), WHOLE, slot)
