"""WebP's header: RFC 9649, the three forms VP8, VP8L and VP8X."""

from __future__ import annotations

from struct import unpack_from

from beyond_serve.preprocess.formats.exif import orientation as exif_orientation
from beyond_serve.preprocess.formats.image_header import MAX_SEGMENTS, ImageHeader, broken, truncated

_ANIMATION, _EXIF, _ALPHA = 0x02, 0x08, 0x10


def parse(data: bytes) -> ImageHeader:
    """Raises ImageDecodeError: truncated, or a first chunk that cannot be right."""
    length = len(data)
    if length < 30:
        raise truncated("WebP", "header", length)
    (riff_size,) = unpack_from("<I", data, 4)
    if riff_size + 8 > length:
        raise truncated("WebP", f"RIFF container, which says {riff_size + 8} bytes", length)
    kind = data[12:16]
    if kind == b"VP8X":
        return _extended(data, riff_size + 8)
    if kind == b"VP8L":
        return _lossless(data)
    if kind == b"VP8 ":
        return _lossy(data)
    raise broken("WebP", f"an unknown first chunk {kind!r}", 12)


def _lossy(data: bytes) -> ImageHeader:
    if data[20] & 1 or data[23:26] != b"\x9d\x01\x2a":
        raise broken("WebP", "its VP8 frame is no key frame", 20)
    width, height = unpack_from("<HH", data, 26)
    return _checked(width & 0x3FFF, height & 0x3FFF, 3, 1, False)


def _lossless(data: bytes) -> ImageHeader:
    (bits,) = unpack_from("<I", data, 21)
    if data[20] != 0x2F or bits >> 29:
        raise broken("WebP", "its VP8L signature or version is wrong", 20)
    channels = 4 if bits >> 28 & 1 else 3
    return _checked((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, channels, 1, False)


def _extended(data: bytes, end: int) -> ImageHeader:
    flags = data[20]
    width = 1 + int.from_bytes(data[24:27], "little")
    height = 1 + int.from_bytes(data[27:30], "little")
    orientation = _orientation(data, end) if flags & _EXIF else 1
    return _checked(width, height, 4 if flags & _ALPHA else 3, orientation, bool(flags & _ANIMATION))


def _orientation(data: bytes, end: int) -> int:
    position = 30
    for _ in range(MAX_SEGMENTS):
        if position + 8 > end:
            break
        kind, size = unpack_from("<4sI", data, position)
        position += 8
        if kind == b"EXIF":
            # Some writers keep JPEG's prefix.
            skip = 6 if data.startswith(b"Exif\0\0", position) else 0
            return exif_orientation(data, position + skip, min(position + size, end))
        position += size + (size & 1)
    return 1


def _checked(width: int, height: int, channels: int, orientation: int, animated: bool) -> ImageHeader:
    if width == 0 or height == 0:
        raise broken("WebP", f"a size of {width}x{height}", 24)
    return ImageHeader("webp", width, height, channels, 8, False, orientation, "rgb", animated)
