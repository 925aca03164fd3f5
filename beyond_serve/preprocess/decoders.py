"""Encoded bytes to pixels by library decoders, and the one place where their exceptions are translated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from beyond_serve.errors import BeyondError, ImageDecodeError, PayloadTooLargeError
from beyond_serve.preprocess.header import Format, ImageHeader

# Ours are PixelLimits, checked against the header before this module sees the image. Pillow's limit is a
# process-wide variable, and its warning would be an error or noise on a worker's thread.
Image.MAX_IMAGE_PIXELS = None

# The plugin of the claimed format and no other is asked: no guessing, no importing of all plugins.
_PLUGINS: dict[Format, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": GifImagePlugin.GifImageFile,
}
_NAMES: dict[Format, str] = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "bmp": "BMP", "gif": "GIF"}

MAX_SCANS = 100
"""Scans of a progressive JPEG. Each costs a pass over all coefficients, and 30 bytes can ask for one.
Invented; encoders write 10 or so."""

_SCAN = b"\xff\xda"
# What libjpeg says of bytes between a scan's end and the next marker. The picture is whole; every viewer
# shows it, and cameras that pad are common.
_HARMLESS = ("extraneous bytes before marker", "Unknown Adobe color transform code")

# turbojpeg's interface gives up on legal sampling factors without a name; libjpeg under Pillow does not.
_UNUSUAL = "Could not determine subsampling"


def decode_jpeg(
    data: bytes, header: ImageHeader, *, denominator: int = 1, tolerate_corrupt: bool = False
) -> NDArray[np.uint8]:
    """A grey or three-component JPEG by libjpeg-turbo; the same pixels as Pillow's where denominator is 1.

    Args:
        denominator: 1, 2, 4 or 8; each edge becomes ceil(edge / denominator), averaged in the frequency
            domain.
        tolerate_corrupt: decode what there is of a truncated or corrupt image, grey or garbage after it.

    Returns:
        uint8 [H, W, 3] RGB, or [H, W] grey, as stored (EXIF orientation not applied).

    Raises:
        ImageDecodeError: truncated, corrupt, too many scans, or refused by the decoder.
    """
    with _translated(data, header):
        if header.progressive and (scans := data.count(_SCAN)) > MAX_SCANS:
            raise ImageDecodeError(f"the progressive JPEG has {scans} scans; {MAX_SCANS} are the limit")
        try:
            pixels = _turbo(data, header, denominator, strict=not tolerate_corrupt)
        except ValueError as error:
            if _UNUSUAL in str(error):
                pixels = np.asarray(as_rgb(_pillow(data, header, denominator)))
            elif any(harmless in str(error) for harmless in _HARMLESS):
                pixels = _turbo(data, header, denominator, strict=False)
            else:
                raise
        height, width = _reduced(header, denominator)
        if pixels.shape[:2] != (height, width):
            raise _lying(header, pixels.shape[1] * denominator, pixels.shape[0] * denominator)
        return pixels


def decode_image(data: bytes, header: ImageHeader) -> Image.Image:
    """Any served format by Pillow: the first frame, in the mode that the file has (see `as_rgb`).

    Raises:
        ImageDecodeError: truncated, corrupt, or not as large as its header says.
    """
    with _translated(data, header):
        return _pillow(data, header)


def as_rgb(image: Image.Image) -> Image.Image:
    """Mode "RGB", or "L" where all three channels are equal.

    Alpha is dropped, as Pillow's convert("RGB") drops it: colours of transparent pixels show. 16-bit grey
    keeps its high byte, as Pillow reads 16-bit RGB, where convert() would clip everything above 255.
    """
    mode = image.mode
    if mode in ("RGB", "L"):
        return image
    if mode.startswith("I"):
        high_byte = (np.asarray(image).astype(np.int32) >> 8).clip(0, 255)
        return Image.fromarray(high_byte.astype(np.uint8))
    if mode in ("1", "LA"):
        return image.convert("L")
    # Pillow warns when it drops a palette's transparency; dropping it is what is wanted.
    image.info.pop("transparency", None)
    return image.convert("RGB")


def _turbo(data: bytes, header: ImageHeader, denominator: int, *, strict: bool) -> NDArray[np.uint8]:
    # Without a least size there is no scaling; a tiny image could meet one at several scales.
    height, width = (0, 0) if denominator == 1 else _reduced(header, denominator)
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data,
        "GRAY" if header.channels == 1 else "RGB",
        min_height=height,
        min_width=width,
        min_factor=denominator,
        strict=strict,
    )
    return pixels[:, :, 0] if header.channels == 1 else pixels


def _reduced(header: ImageHeader, denominator: int) -> tuple[int, int]:
    """(height, width) of the image as libjpeg scales it."""
    return -(-header.height // denominator), -(-header.width // denominator)


def _pillow(data: bytes, header: ImageHeader, denominator: int = 1) -> Image.Image:
    image = _PLUGINS[header.format](BytesIO(data))
    if image.size != (header.width, header.height):
        raise _lying(header, *image.size)
    if denominator != 1:
        image.draft(None, (header.width // denominator, header.height // denominator))
    image.load()
    return image


def _lying(header: ImageHeader, width: int, height: int) -> ImageDecodeError:
    return ImageDecodeError(
        f"the {_NAMES[header.format]}'s header says {header.width}x{header.height}, "
        f"its content {width}x{height}"
    )


@contextmanager
def _translated(data: bytes, header: ImageHeader) -> Iterator[None]:
    """Decoders raise what they like (OSError, SyntaxError, struct.error, zlib.error …): all become ours."""
    try:
        yield
    except BeyondError:
        raise
    except MemoryError as error:
        raise PayloadTooLargeError(
            f"there is no memory for the image's {header.width}x{header.height} pixels"
        ) from error
    except Exception as error:
        name, reason = _NAMES[header.format], str(error) or type(error).__name__
        if "truncated" in reason.lower() or reason.startswith("Premature end"):
            raise ImageDecodeError(
                f"the {name} is truncated: it ends at byte {len(data)}, "
                f"before its {header.width}x{header.height} pixels are complete",
                "send the complete file",
            ) from error
        raise ImageDecodeError(
            f"the {name} ({header.width}x{header.height}, {len(data)} bytes) cannot be decoded: {reason}"
        ) from error
