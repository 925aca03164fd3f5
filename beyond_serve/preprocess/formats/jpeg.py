"""JPEG's header: ITU-T T.81 annex B, Adobe's APP14 (technical note 5116), EXIF's APP1."""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from

from beyond_serve.errors import UnsupportedImageError
from beyond_serve.preprocess.formats.exif import orientation as exif_orientation
from beyond_serve.preprocess.formats.image_header import (
    MAX_SEGMENTS,
    Colour,
    ImageHeader,
    broken,
    truncated,
)

_UNSERVED = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "lossless hierarchical",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xCB: "arithmetic-coded lossless",
    0xCD: "arithmetic-coded hierarchical",
    0xCE: "arithmetic-coded hierarchical",
    0xCF: "arithmetic-coded lossless hierarchical",
    0xF7: "lossless (JPEG-LS)",
}
_SERVED = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE = 0xC2
_SOS, _EOI, _APP1, _APP14 = 0xDA, 0xD9, 0xE1, 0xEE
_STANDALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
_HINT = "send a baseline or progressive 8-bit JPEG"


def parse(data: bytes) -> ImageHeader:
    """Read the segments up to the first scan.

    Raises:
        UnsupportedImageError: a process, precision or number of components that is not served.
        ImageDecodeError: truncated, or a segment that contradicts itself.
    """
    frame_at, orientation, adobe = 0, 0, -1
    for marker, position, size in _segments(data):
        if marker == _SOS:
            return _header(data, frame_at, position, orientation, adobe)
        if marker in _SERVED:
            if frame_at:
                raise broken("JPEG", "a second frame header", position)
            frame_at = position
        elif marker == _APP1 and not orientation and data.startswith(b"Exif\0", position + 4):
            orientation = exif_orientation(data, position + 10, position + 2 + size)
        elif marker == _APP14 and size >= 14 and data.startswith(b"Adobe", position + 4):
            adobe = data[position + 15]
        elif marker in _UNSERVED:
            raise UnsupportedImageError(f"the JPEG is {_UNSERVED[marker]}, which is not served", _HINT)
    raise broken("JPEG", f"no scan within the first {MAX_SEGMENTS} segments", 2)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, offset of its FF, size as the segment says it) of each segment; never runs off the end."""
    length = len(data)
    position = 2
    for _ in range(MAX_SEGMENTS):
        # Bytes between segments are skipped, as libjpeg does.
        position = data.find(b"\xff", position)
        if position < 0 or position + 4 > length:
            raise truncated("JPEG", "header, before the first scan", length)
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        if marker == _EOI:
            raise broken("JPEG", "it ends (EOI) before any scan", position)
        size = (data[position + 2] << 8) | data[position + 3]
        if size < 2:
            raise broken("JPEG", f"a segment of length {size}", position)
        if position + 2 + size > length:
            raise truncated("JPEG", f"segment {marker:02X} that starts at byte {position}", length)
        yield marker, position, size
        position += 2 + size


def _header(data: bytes, frame_at: int, scan_at: int, orientation: int, adobe: int) -> ImageHeader:
    if not frame_at:
        raise broken("JPEG", "a scan (SOS) before any frame header (SOF)", scan_at)
    size, bits, height, width, channels = unpack_from(">HBHHB", data, frame_at + 2)
    if size != 8 + 3 * channels:
        raise broken("JPEG", f"a frame header of {size} bytes for {channels} components", frame_at)
    if bits != 8:
        raise UnsupportedImageError(f"the JPEG has {bits} bits per channel, 8 are served", _HINT)
    if channels not in (1, 3, 4):
        raise UnsupportedImageError(f"the JPEG has {channels} components; 1, 3 and 4 are served", _HINT)
    if width == 0 or height == 0:
        raise broken("JPEG", f"a size of {width}x{height}", frame_at)
    for component in range(channels):
        sampling = data[frame_at + 11 + 3 * component]
        if not (1 <= sampling >> 4 <= 4 and 1 <= sampling & 15 <= 4):
            raise broken("JPEG", f"component {component} has sampling factors {sampling:02x}", frame_at)
    progressive = data[frame_at + 1] == _PROGRESSIVE
    colour = _colour(channels, adobe)
    return ImageHeader("jpeg", width, height, channels, bits, progressive, orientation or 1, colour)


def _colour(channels: int, adobe: int) -> Colour:
    """Adobe's transform code: 0 none, 1 YCbCr, 2 YCCK; -1 when there is no such segment."""
    if channels == 1:
        return "gray"
    if channels == 3:
        return "rgb" if adobe == 0 else "ycc"
    return "ycck" if adobe == 2 else "cmyk"
