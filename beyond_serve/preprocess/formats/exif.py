"""The orientation out of an EXIF block. Metadata never fails an image: whatever is senseless means 1."""

from __future__ import annotations

import struct
from struct import unpack_from

_ORIENTATION = 0x0112
_SHORT = 3
_MAX_ENTRIES = 512


def orientation(data: bytes, start: int, end: int) -> int:
    """EXIF orientation, 1 to 8, of the TIFF structure (TIFF 6.0, section 2) in data[start:end]."""
    byte_order = data[start : start + 4]
    if byte_order == b"II*\0":
        order = "<"
    elif byte_order == b"MM\0*":
        order = ">"
    else:
        return 1
    try:
        (directory,) = unpack_from(order + "I", data, start + 4)
        position = start + directory
        if position + 2 > end:
            return 1
        (entries,) = unpack_from(order + "H", data, position)
        position += 2
        for _ in range(min(entries, _MAX_ENTRIES, (end - position) // 12)):
            tag, kind, _count, value = unpack_from(order + "HHIH", data, position)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
            position += 12
    except struct.error:
        return 1
    return 1
