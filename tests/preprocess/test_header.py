from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from beyond_serve.errors import ImageDecodeError, UnsupportedImageError
from beyond_serve.preprocess.formats.image_header import MAX_SEGMENTS
from beyond_serve.preprocess.header import ImageHeader, read_header
from tests.preprocess.images import encode, exif, jpeg, jpeg_claiming, photograph, png_header

PHOTO = photograph(37, 23)
GREY = Image.fromarray(PHOTO[:, :, 0])


def test_baseline_jpeg() -> None:
    assert read_header(encode(PHOTO, "JPEG")) == ImageHeader("jpeg", 37, 23, 3, 8, False, 1, "ycc")


def test_progressive_grey_jpeg() -> None:
    data = encode(GREY, "JPEG", progressive=True)
    assert read_header(data) == ImageHeader("jpeg", 37, 23, 1, 8, True, 1, "gray")


def test_adobe_cmyk_jpeg() -> None:
    header = read_header(encode(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"))
    assert (header.channels, header.colour) == (4, "cmyk")


@pytest.mark.parametrize(("transform", "colour"), [(0, "cmyk"), (2, "ycck")])
def test_adobe_transform_tells_ycck_from_cmyk(transform: int, colour: str) -> None:
    data = bytearray(encode(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"))
    data[data.index(b"Adobe") + 11] = transform
    assert read_header(bytes(data)).colour == colour


def test_jpeg_stored_as_rgb() -> None:
    assert read_header(encode(PHOTO, "JPEG", keep_rgb=True)).colour == "rgb"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("byte_order", "<>")
def test_orientation_of_jpeg(orientation: int, byte_order: str) -> None:
    assert read_header(jpeg(20, 10, exif=exif(orientation, byte_order))).orientation == orientation


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_orientation_of_other_formats(kind: str) -> None:
    assert read_header(encode(PHOTO, kind, exif=exif(6))).orientation == 6


def test_orientation_behind_a_png_s_pixels() -> None:
    data = encode(PHOTO, "PNG")
    with_exif = encode(PHOTO, "PNG", exif=exif(8))
    start = with_exif.index(b"eXIf") - 4
    (size,) = struct.unpack_from(">I", with_exif, start)
    end = data.index(b"IEND") - 4
    moved = data[:end] + with_exif[start : start + 12 + size] + data[end:]
    assert read_header(moved).orientation == 8


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_senseless_orientation_is_none(orientation: int) -> None:
    assert read_header(jpeg(20, 10, exif=exif(orientation))).orientation == 1


def test_exif_that_points_outside_itself_is_none() -> None:
    block = bytearray(exif(6))
    block[10:14] = struct.pack("<I", 0xFFFFFFF0)
    assert read_header(jpeg(20, 10, exif=bytes(block))).orientation == 1


@pytest.mark.parametrize(
    ("mode", "channels", "bits", "colour"),
    [
        ("1", 1, 1, "gray"),
        ("L", 1, 8, "gray"),
        ("LA", 2, 8, "gray"),
        ("P", 1, 8, "palette"),
        ("RGB", 3, 8, "rgb"),
        ("RGBA", 4, 8, "rgb"),
    ],
)
def test_png(mode: str, channels: int, bits: int, colour: str) -> None:
    header = read_header(encode(Image.fromarray(PHOTO).convert(mode), "PNG"))
    assert header == ImageHeader("png", 37, 23, channels, bits, False, 1, colour)  # type: ignore[arg-type]


def test_interlaced_png_is_progressive() -> None:
    data = bytearray(png_header(5, 5))
    data[28] = 1
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    assert read_header(bytes(data)).progressive


def test_16_bit_png() -> None:
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    assert read_header(encode(Image.fromarray(grey), "PNG"))[1:5] == (8, 8, 1, 16)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp(lossless: bool, mode: str) -> None:
    image = Image.fromarray(PHOTO).convert(mode)
    if mode == "RGBA":
        image.putalpha(GREY)
    header = read_header(encode(image, "WEBP", lossless=lossless))
    assert header[:4] == ("webp", 37, 23, len(mode))


def test_animated_webp_and_gif_and_png() -> None:
    frames = [Image.fromarray(photograph(20, 10, seed=seed)) for seed in range(2)]
    for kind in ("WEBP", "GIF", "PNG"):
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], loop=0)
        header = read_header(data)
        assert (header.width, header.height, header.animated) == (20, 10, True), kind
        assert not read_header(encode(frames[0], kind)).animated


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmp(mode: str) -> None:
    header = read_header(encode(Image.fromarray(PHOTO).convert(mode), "BMP"))
    assert header[:3] == ("bmp", 37, 23)


def test_gif() -> None:
    header = read_header(encode(PHOTO, "GIF"))
    assert header[:4] == ("gif", 37, 23, 1)


def test_gif_whose_frame_exceeds_its_screen_has_the_frame_s_size() -> None:
    data = bytearray(encode(PHOTO, "GIF"))
    data[6:10] = struct.pack("<HH", 1, 1)
    assert read_header(bytes(data))[1:3] == (37, 23)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello, this is text", "no image"),
        (b"BMW builds cars", "no image"),
        (b"%PDF-1.7", "PDF"),
        (b'{"inputs": []}', "JSON"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"\x89PNG", "signature"),
        (bytes(40), "no image"),
    ],
)
def test_what_is_no_image_says_what_is_served(data: bytes, says: str) -> None:
    with pytest.raises(UnsupportedImageError, match=says) as raised:
        read_header(data)
    assert "JPEG, PNG" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("marker", "says"), [(0xC3, "lossless"), (0xC9, "arithmetic"), (0xC5, "hierarchical"), (0xF7, "JPEG-LS")]
)
def test_jpeg_processes_that_are_not_served(marker: int, says: str) -> None:
    data = encode(PHOTO, "JPEG").replace(b"\xff\xc0", bytes((0xFF, marker)))
    with pytest.raises(UnsupportedImageError, match=says):
        read_header(data)


def test_12_bit_jpeg_is_not_served() -> None:
    data = bytearray(encode(PHOTO, "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedImageError, match="12 bits"):
        read_header(bytes(data))


def test_two_component_jpeg_is_not_served() -> None:
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 14, 8, 4, 4, 2) + b"\x01\x11\x00\x02\x11\x00"
    with pytest.raises(UnsupportedImageError, match="2 components"):
        read_header(b"\xff\xd8" + frame + b"\xff\xda\x00\x02")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.replace(b"\xff\xc0\x00\x11", b"\xff\xc0\x00\x0c"), "frame header"),
        (lambda data: data.replace(b"\xff\xda", b"\xff\xd9"), "before any scan"),
        (lambda data: data[: data.index(b"\xff\xda")] + data[data.index(b"\xff\xc0") :], "second frame"),
        (lambda data: data[:2] + data[data.index(b"\xff\xda") :], "before any frame"),
        (lambda data: data[:2] + b"\xff\xe0\x00\x01" + data[2:], "length 1"),
        (lambda data: data[:2] + b"\xff\xe0\x00\x02" * (MAX_SEGMENTS + 1) + data[2:], "no scan within"),
        (lambda data: data[:2] + b"\xff" * 100_000 + data[2:], "no scan within"),
    ],
)
def test_broken_jpeg_says_what_and_where(change: Callable[[bytes], bytes], says: str) -> None:
    with pytest.raises(ImageDecodeError, match=says):
        read_header(change(encode(PHOTO, "JPEG")))


def test_jpeg_of_no_height() -> None:
    with pytest.raises(ImageDecodeError, match="16x0"):
        read_header(jpeg_claiming(16, 0))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_every_truncation_of_the_header_is_ours(kind: str) -> None:
    data = encode(photograph(9, 7), kind)
    whole = read_header(data)
    for end in range(len(data)):
        # Whatever is raised must be ours; what is not raised must be right.
        with suppress(ImageDecodeError, UnsupportedImageError):
            assert read_header(data[:end]) == whole


def test_a_truncated_jpeg_says_where_it_ends() -> None:
    with pytest.raises(ImageDecodeError, match="ends at byte 100"):
        read_header(encode(PHOTO, "JPEG")[:100])


def test_png_with_a_wrong_checksum() -> None:
    data = bytearray(encode(PHOTO, "PNG"))
    data[17] ^= 1
    with pytest.raises(ImageDecodeError, match="checksum"):
        read_header(bytes(data))


@pytest.mark.parametrize(
    "arguments", [(0, 5, 8, 2), (5, 0, 8, 2), (2**31, 1, 8, 2), (5, 5, 4, 2), (5, 5, 8, 1)]
)
def test_png_with_an_impossible_header(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ImageDecodeError, match="broken at byte"):
        read_header(png_header(*arguments))


def test_work_is_bounded_for_bodies_of_nothing_but_segments() -> None:
    blocks = b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\x01x" * 1_000_000
    with pytest.raises(ImageDecodeError, match="no frame within"):
        read_header(blocks)
    with pytest.raises(ImageDecodeError, match="before any pixels"):
        read_header(png_header(5, 5)[:33] + (bytes(4) + b"teXt" + bytes(4)) * 100_000)
