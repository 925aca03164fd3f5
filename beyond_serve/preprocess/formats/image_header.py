"""What the first bytes of an image say, and how a parser says that they cannot be right."""

from __future__ import annotations

from typing import Literal, NamedTuple

from beyond_serve.errors import ImageDecodeError

Format = Literal["jpeg", "png", "webp", "bmp", "gif"]
Colour = Literal["gray", "rgb", "ycc", "cmyk", "ycck", "palette"]

MAX_SEGMENTS = 4096
"""Segments, chunks or fill bytes looked at before giving up: bounds the event loop's time for a hostile
body. Invented; real files have fewer than a hundred before their pixels."""


class ImageHeader(NamedTuple):
    """An image as its header declares it; nothing has been decoded. (A tuple: made for every request.)

    Attributes:
        format: which decoder it is for.
        width, height: pixels as stored, before the orientation is applied; both at least 1.
        channels: as stored, alpha included; 1 for a palette's index.
        bits: per channel.
        progressive: several scans over the whole image (progressive JPEG, interlaced PNG and GIF).
        orientation: EXIF's, 1 to 8; 1 when absent or senseless.
        colour: how the channels are to be read; "ycck" is CMYK stored as luma, chroma and black.
        animated: the file says that it has several frames; the first is served.
    """

    format: Format
    width: int
    height: int
    channels: int
    bits: int
    progressive: bool
    orientation: int
    colour: Colour
    animated: bool = False


def truncated(name: str, what: str, length: int) -> ImageDecodeError:
    return ImageDecodeError(
        f"the {name} is truncated: it ends at byte {length}, in its {what}", "send the complete file"
    )


def broken(name: str, what: str, offset: int) -> ImageDecodeError:
    return ImageDecodeError(f"the {name} is broken at byte {offset}: {what}")
