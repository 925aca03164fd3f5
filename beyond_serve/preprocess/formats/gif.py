"""GIF's header: CompuServe GIF89a, up to the first frame's descriptor."""

from __future__ import annotations

from struct import unpack_from

from beyond_serve.preprocess.formats.image_header import MAX_SEGMENTS, ImageHeader, broken, truncated

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def parse(data: bytes) -> ImageHeader:
    """The size is the logical screen's, enlarged where the first frame exceeds it, as Pillow makes it.

    Raises:
        ImageDecodeError: truncated or broken before the first frame.
    """
    length = len(data)
    if length < 13:
        raise truncated("GIF", "screen descriptor", length)
    width, height, flags = unpack_from("<HHB", data, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    position, animated = _first_frame(data, position, length)
    if position + 10 > length:
        raise truncated("GIF", "first frame's descriptor", length)
    left, top, frame_width, frame_height, frame_flags = unpack_from("<HHHHB", data, position + 1)
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    if frame_width == 0 or frame_height == 0:
        raise broken("GIF", f"a first frame of {frame_width}x{frame_height}", position)
    return ImageHeader("gif", width, height, 1, 8, bool(frame_flags & 0x40), 1, "palette", animated)


def _first_frame(data: bytes, position: int, length: int) -> tuple[int, bool]:
    """(offset of the first image descriptor, whether an application extension asks for a loop)."""
    animated = False
    budget = MAX_SEGMENTS
    while position < length and budget > 0:
        kind = data[position]
        if kind == _IMAGE:
            return position, animated
        if kind == _TRAILER:
            raise broken("GIF", "it ends before any frame", position)
        if kind != _EXTENSION:
            raise broken("GIF", f"an unknown block {kind:02X}", position)
        animated = animated or data.startswith(b"NETSCAPE2.0", position + 3)
        position += 2
        while budget > 0 and position < length and data[position]:
            position += 1 + data[position]
            budget -= 1
        position += 1
        budget -= 1
    if budget <= 0:
        raise broken("GIF", f"no frame within the first {MAX_SEGMENTS} blocks", position)
    raise truncated("GIF", "blocks, before the first frame", length)
