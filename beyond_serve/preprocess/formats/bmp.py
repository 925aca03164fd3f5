"""BMP's header: Microsoft's BITMAPCOREHEADER, BITMAPINFOHEADER and its successors."""

from __future__ import annotations

from struct import unpack_from

from beyond_serve.errors import UnsupportedImageError
from beyond_serve.preprocess.formats.image_header import Colour, ImageHeader, broken, truncated

_CORE = 12
_INFO_SIZES = (40, 52, 56, 64, 108, 124)
_EMBEDDED = {4: "JPEG", 5: "PNG"}


def looks_like(data: bytes) -> bool:
    """'BM' alone begins many a text; a known header size does not follow by chance."""
    if len(data) < 18:
        return len(data) >= 6 and unpack_from("<I", data, 2)[0] < 2**24
    size: int = unpack_from("<I", data, 14)[0]
    return size == _CORE or size in _INFO_SIZES


def parse(data: bytes) -> ImageHeader:
    """Raises UnsupportedImageError for an embedded JPEG or PNG, ImageDecodeError for a broken header."""
    length = len(data)
    if length < 18 or length < 14 + unpack_from("<I", data, 14)[0]:
        raise truncated("BMP", "header", length)
    compression = 0
    if unpack_from("<I", data, 14)[0] == _CORE:
        width, height, _planes, depth = unpack_from("<HHHH", data, 18)
    else:
        width, height, _planes, depth, compression = unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: stored from the top
    if width < 1 or height < 1:
        raise broken("BMP", f"a size of {width}x{height}", 18)
    if compression in _EMBEDDED:
        raise UnsupportedImageError(
            f"the BMP holds a {_EMBEDDED[compression]}, which is not served", "send the image inside it"
        )
    if depth not in (1, 2, 4, 8, 16, 24, 32):
        raise broken("BMP", f"{depth} bits per pixel", 28)
    colour: Colour = "palette" if depth <= 8 else "rgb"
    channels = 1 if depth <= 8 else 4 if depth == 32 else 3
    return ImageHeader("bmp", width, height, channels, min(depth, 8), False, 1, colour)
