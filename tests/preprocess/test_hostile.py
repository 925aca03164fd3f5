"""Bodies that mean harm or are broken: only our errors come out, nothing large is made."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from beyond_serve.errors import BeyondError, ImageDecodeError, PayloadTooLargeError
from beyond_serve.preprocess.decoders import MAX_SCANS
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.limits import PixelLimits
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan
from tests.preprocess.images import (
    Pixels,
    chunk,
    encode,
    exif,
    jpeg,
    jpeg_claiming,
    photograph,
    png_header,
)

PLAN = PreprocessPlan(size=(36, 36), crop=(32, 32))
LIMITS = PixelLimits(max_pixels=1_000_000, max_resized_pixels=1_000_000)
PHOTO = photograph(40, 30)
KINDS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")


def serve(data: bytes, fidelity: Fidelity = "exact", *, tolerate_corrupt: bool = False) -> Pixels:
    """All that a body goes through before it is a row."""
    header = read_header(data)
    LIMITS.check(header, PLAN)
    out = np.zeros(PLAN.output_shape, np.uint8)
    HostPreprocessor(PLAN, fidelity, tolerate_corrupt=tolerate_corrupt).run(data, header, out)
    return out


@pytest.mark.parametrize("fidelity", ["exact", "fast"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_ours(kind: str, fidelity: Fidelity) -> None:
    data = encode(photograph(17, 11), kind)
    for end in range(0, len(data), max(1, len(data) // 150)):
        with contextlib.suppress(BeyondError):
            serve(data[:end], fidelity)


@pytest.mark.parametrize("fidelity", ["exact", "fast"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("cut", [0.5, 0.9, -2])
def test_a_truncated_jpeg_is_an_error_that_says_where(
    options: dict[str, bool], cut: float, fidelity: Fidelity
) -> None:
    data = jpeg(40, 30, **options)
    end = int(cut * len(data)) if cut > 0 else int(len(data) + cut)
    start = data.index(b"\xff\xda") + 14
    end = max(end, start)
    with pytest.raises(ImageDecodeError, match=rf"truncated: it ends at byte {end}") as raised:
        serve(data[:end], fidelity)
    assert raised.value.hint == "send the complete file"
    assert serve(data[:end], fidelity, tolerate_corrupt=True).any()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF"])
def test_truncated_pixels_of_other_formats_are_an_error(kind: str) -> None:
    data = encode(photograph(60, 50, noise=30), kind)
    with pytest.raises(ImageDecodeError):
        serve(data[: len(data) * 3 // 4])


def test_a_corrupt_scan_is_an_error() -> None:
    data = bytearray(jpeg(200, 150, noise=20))
    middle = data.index(b"\xff\xda") + 400
    data[middle : middle + 1] = b"\xff\xd3"  # a restart marker where none belongs
    with pytest.raises(ImageDecodeError, match="JPEG"):
        serve(bytes(data))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (jpeg_claiming(65500, 65500), PayloadTooLargeError),
        (jpeg_claiming(900, 900), ImageDecodeError),
        (png_header(100_000, 100_000), PayloadTooLargeError),
        (png_header(900, 900), ImageDecodeError),
    ],
)
def test_lying_headers(data: bytes, error: type[BeyondError]) -> None:
    with pytest.raises(error):
        serve(data)


def test_a_jpeg_with_two_sizes_is_refused_at_its_header() -> None:
    small = jpeg(16, 16)
    frame = small.index(b"\xff\xc0")
    large = b"\xff\xc0" + small[frame + 2 : frame + 5] + struct.pack(">HH", 65500, 65500) + small[frame + 9 :]
    with pytest.raises(ImageDecodeError, match="second frame"):
        serve(small[: small.index(b"\xff\xda")] + large)


def test_a_bomb_s_pixels_are_never_made() -> None:
    width = height = 30_000
    ihdr = chunk(b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    squeezed = zlib.compress(bytes(1_000_000), 9) * 2
    bomb = b"\x89PNG\r\n\x1a\n" + ihdr + chunk(b"IDAT" + squeezed) + chunk(b"IEND")
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLargeError, match="30000x30000"):
            serve(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_gif_whose_later_frame_is_huge_serves_its_first() -> None:
    data = encode(PHOTO, "GIF")
    huge = b"\x2c" + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x01\x44\x00"
    assert serve(data[:-1] + huge + b"\x3b").any()


def test_a_progressive_jpeg_of_endless_scans_is_refused() -> None:
    data = jpeg(16, 16, progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    with pytest.raises(ImageDecodeError, match="scans"):
        serve(data[:-2] + scan * (MAX_SCANS + 1) + data[-2:])


@pytest.mark.parametrize("fidelity", ["exact", "fast"])
@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
@example("JPEG", [(0.0, 0xFF)], False)
def test_flipped_bytes_raise_only_our_errors(
    fidelity: Fidelity, kind: str, changes: list[tuple[float, int]], tolerate: bool
) -> None:
    data = bytearray(_encoded(kind))
    for place, value in changes:
        data[int(place * len(data))] = value
    with contextlib.suppress(BeyondError):
        serve(bytes(data), fidelity, tolerate_corrupt=tolerate)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(
        [
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe1\x00\x20Exif\0\0II*\0",
            b"\x89PNG\r\n\x1a\n",
            png_header(8, 8)[:33],
            b"RIFF\x40\0\0\0WEBPVP8 ",
            b"RIFF\x40\0\0\0WEBPVP8X",
            b"RIFF\x40\0\0\0WEBPVP8L",
            b"BM\x40\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
            b"GIF89a",
            b"",
        ]
    ),
    st.binary(max_size=200),
)
def test_random_bytes_behind_a_valid_magic_raise_only_our_errors(magic: bytes, body: bytes) -> None:
    with contextlib.suppress(BeyondError):
        serve(magic + body)


def _encoded(kind: str, cache: dict[str, bytes] = {}) -> bytes:  # noqa: B006 (a cache is what is wanted)
    if kind not in cache:
        options = {} if kind in ("BMP", "GIF") else {"exif": exif(6)}
        cache[kind] = encode(Image.fromarray(PHOTO), kind, **options)
    return cache[kind]
