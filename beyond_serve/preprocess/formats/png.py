"""PNG's header: W3C PNG third edition, chunks up to the pixels and eXIf wherever it is."""

from __future__ import annotations

from struct import unpack_from
from zlib import crc32

from beyond_serve.preprocess.formats.exif import orientation as exif_orientation
from beyond_serve.preprocess.formats.image_header import (
    MAX_SEGMENTS,
    Colour,
    ImageHeader,
    broken,
    truncated,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Colour type: (channels, colour, bit depths that it allows).
_TYPES: dict[int, tuple[int, Colour, tuple[int, ...]]] = {
    0: (1, "gray", (1, 2, 4, 8, 16)),
    2: (3, "rgb", (8, 16)),
    3: (1, "palette", (1, 2, 4, 8)),
    4: (2, "gray", (8, 16)),
    6: (4, "rgb", (8, 16)),
}
_MAX_EDGE = 2**31 - 1


def parse(data: bytes) -> ImageHeader:
    """Raises ImageDecodeError: truncated before its pixels, or an IHDR that cannot be right."""
    length = len(data)
    if length < 33:
        raise truncated("PNG", "IHDR chunk", length)
    size, kind, width, height, bits, colour_type, compression, filters, interlace = unpack_from(
        ">I4sIIBBBBB", data, 8
    )
    if kind != b"IHDR" or size != 13:
        raise broken("PNG", "the first chunk is not an IHDR of 13 bytes", 8)
    if crc32(data[12:29]) != unpack_from(">I", data, 29)[0]:
        raise broken("PNG", "the IHDR's checksum is wrong", 29)
    if not (1 <= width <= _MAX_EDGE and 1 <= height <= _MAX_EDGE):
        raise broken("PNG", f"a size of {width}x{height}", 16)
    known = _TYPES.get(colour_type)
    if known is None or bits not in known[2]:
        raise broken("PNG", f"colour type {colour_type} with {bits} bits", 24)
    if compression != 0 or filters != 0 or interlace > 1:
        raise broken("PNG", "an unknown compression, filter or interlace method", 26)
    orientation, animated = _chunks(data, length)
    return ImageHeader("png", width, height, known[0], bits, interlace == 1, orientation, known[1], animated)


def _chunks(data: bytes, length: int) -> tuple[int, bool]:
    """(orientation, animated). ImageMagick writes eXIf behind the pixels, so the walk goes on after them."""
    orientation, animated, pixels = 1, False, False
    position = 33
    for _ in range(MAX_SEGMENTS):
        if position + 8 > length:
            break
        size, kind = unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            pixels = True
        elif kind == b"eXIf":
            orientation = exif_orientation(data, position + 8, min(position + 8 + size, length))
        elif kind == b"acTL":
            animated = True
        elif kind == b"IEND":
            break
        position += 12 + size
    if not pixels:
        raise truncated("PNG", "chunks, before any pixels (IDAT)", min(position, length))
    return orientation, animated
