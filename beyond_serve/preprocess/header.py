"""What an encoded image is, from its first bytes: pure Python, a few microseconds, no pixels allocated."""

from __future__ import annotations

from beyond_serve.errors import UnsupportedImageError
from beyond_serve.preprocess.formats import bmp, gif, jpeg, png, webp
from beyond_serve.preprocess.formats.image_header import Colour, Format, ImageHeader

__all__ = ["SERVED", "Colour", "Format", "ImageHeader", "read_header"]

SERVED = "JPEG, PNG, WebP, BMP and GIF"

# Formats that people send and that are named when refused: (offset, magic, name).
_OTHERS = (
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"%PDF", "PDF"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"<!DOCTYPE html", "HTML"),
    (0, b"{", "JSON"),
    (0, b"data:image/", "a data: URL"),
)


def read_header(data: bytes) -> ImageHeader:
    """Size, channels, orientation and kind of an encoded image.

    Reads metadata only, and a bounded amount of it whatever the body holds.

    Raises:
        UnsupportedImageError: empty, of no format that is served, or of a kind of one that is not.
            (Empty is "no image" and not "a broken image": there is nothing to repair.)
        ImageDecodeError: claims a served format and is truncated or contradicts itself; says where.
    """
    if data.startswith(b"\xff\xd8"):
        return jpeg.parse(data)
    if data.startswith(png.SIGNATURE):
        return png.parse(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return webp.parse(data)
    if data.startswith((b"GIF89a", b"GIF87a")):
        return gif.parse(data)
    if data.startswith(b"BM") and bmp.looks_like(data):
        return bmp.parse(data)
    raise UnsupportedImageError(_refusal(data), f"send one of {SERVED}")


def _refusal(data: bytes) -> str:
    if not data:
        return "the body is empty, there is no image"
    for offset, magic, name in _OTHERS:
        if data.startswith(magic, offset):
            return f"the body is {name}, which is not served"
    if png.SIGNATURE.startswith(data[:8]) or data[:3] == b"GIF":
        return f"the body ends or goes astray after {len(data)} bytes, within the signature of an image"
    return f"the body is no image that is known here: it begins with {data[:8].hex(' ')}"
