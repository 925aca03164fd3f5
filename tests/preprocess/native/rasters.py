"""PNGs of every kind and WebPs for the native core's tests, generated, and what Pillow makes of them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from beyond_serve.preprocess.decoders import as_rgb, decode_image
from beyond_serve.preprocess.geometry import geometry
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.native_plan import FILTERS
from beyond_serve.preprocess.orientation import upright_view
from beyond_serve.preprocess.plan import PreprocessPlan
from tests.preprocess.images import Pixels, chunk
from tests.preprocess.native.jpegs import picture

KINDS = [
    *[(0, bits) for bits in (1, 2, 4, 8, 16)],
    *[(3, bits) for bits in (1, 2, 4, 8)],
    *[(colour, bits) for colour in (2, 4, 6) for bits in (8, 16)],
]
"""Colour type and bits: all that a PNG may have."""
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
IDAT_BYTES = 8192


def png(
    width: int,
    height: int,
    colour: int = 2,
    bits: int = 8,
    *,
    seed: int = 0,
    extra: bytes = b"",
    level: int = 6,
) -> bytes:
    """Random filtered bytes under random filters: decodes to noise, whose every row hangs on the one above.
    `extra`: chunks before the pixels."""
    rng = np.random.default_rng(seed)
    row_bytes = (width * SAMPLES[colour] * bits + 7) // 8
    rows = rng.integers(0, 256, (height, row_bytes + 1), np.uint8)
    rows[:, 0] %= 5
    palette = b""
    if colour == 3:
        entries = int(rng.integers(1, 2**bits + 1))
        palette = chunk(b"PLTE" + rng.bytes(entries * 3)) + chunk(b"tRNS" + rng.bytes(entries))
    elif colour in (0, 2):
        palette = chunk(b"tRNS" + bytes(2 * SAMPLES[colour]))
    head = chunk(b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    packed = zlib.compress(rows.tobytes(), level)
    pieces = [packed[at : at + IDAT_BYTES] for at in range(0, len(packed), IDAT_BYTES)]
    pixels = b"".join(chunk(b"IDAT" + piece) for piece in pieces)
    return b"\x89PNG\r\n\x1a\n" + head + extra + palette + pixels + chunk(b"IEND")


def webp(
    width: int, height: int, *, lossless: bool = False, alpha: bool = False, seed: int = 0, quality: int = 80
) -> bytes:
    image = picture(width, height, seed=seed, noise=12.0)
    if alpha:
        image.putalpha(Image.fromarray(np.asarray(picture(width, height, seed=seed + 1))[:, :, 0].copy()))
    buffer = BytesIO()
    # "exact" keeps the colours of transparent pixels, which show here.
    image.save(buffer, "WEBP", lossless=lossless, quality=quality, method=1, exact=True)
    return buffer.getvalue()


def pillow_pixels(data: bytes) -> Pixels:
    """uint8 [H, W, 3] as stored."""
    return np.asarray(as_rgb(decode_image(data, read_header(data))).convert("RGB"))


def by_pillow(data: bytes, plan: PreprocessPlan, orientation: int = 1) -> Pixels:
    """The plan by Pillow: whole image upright, resized, cropped."""
    header = read_header(data)
    shape = geometry(plan, header.width, header.height, orientation)
    upright = Image.fromarray(np.ascontiguousarray(upright_view(pillow_pixels(data), orientation)))
    kernel = Image.Resampling[FILTERS[plan.interpolation].name]
    left, top = shape.start
    columns, rows = shape.upright_size
    return np.asarray(upright.resize(shape.resized, kernel))[top : top + rows, left : left + columns]
