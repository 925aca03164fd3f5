"""Seeded images for tests and benchmarks: photograph-like pixels, encoded to wanted sizes and byte counts."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

SMALL = (60, 70, 4_000)
MEDIUM = (500, 375, 121_000)
FULL_HD = (1920, 1080, 700_000)
LARGE = (3564, 2880, 9_528_000)
"""(width, height, bytes) of the classes that the paper Beyond Inference measures, and one between."""


def photograph(width: int, height: int, *, seed: int = 0, noise: float = 6.0) -> Pixels:
    """uint8 [height, width, 3] RGB: slow colour waves, a few hard edges, Gaussian noise of sigma `noise`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    phase = rng.uniform(0, 6.28, 6).astype(np.float32)
    unit = np.float32(max(width, height) / 8)
    pixels = np.stack(
        [
            120 + 70 * np.sin(x / unit + phase[0]) + 40 * np.cos(y / unit * 2 + phase[1]),
            120 + 80 * np.sin(y / unit + phase[2]) + 30 * np.cos((x + y) / unit * 3 + phase[3]),
            120 + 60 * np.sin((x - y) / unit + phase[4]) + 40 * np.cos(x / unit * 2 + phase[5]),
        ],
        axis=-1,
    )
    pixels[height // 3 : height // 2, width // 4 : width // 2] += 60
    pixels[height // 2 :, (3 * width) // 5 : (4 * width) // 5] -= 50
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(noise)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def encode(pixels: Pixels | Image.Image, kind: str, **options: Any) -> bytes:
    """`pixels` encoded by Pillow; `options` are its."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def jpeg(width: int, height: int, *, seed: int = 0, noise: float = 6.0, **options: Any) -> bytes:
    return encode(photograph(width, height, seed=seed, noise=noise), "JPEG", **{"quality": 92, **options})


@cache
def jpeg_of(width: int, height: int, size: int, seed: int = 0) -> bytes:
    """A baseline 4:2:0 JPEG of about `size` bytes (within 3 %), found by the amount of noise in it."""
    quality = 95 if size * 8 > 2.5 * width * height else 90
    low, high, best = 0.0, 90.0, b""
    for _ in range(10):
        middle = (low + high) / 2
        best = jpeg(width, height, seed=seed, noise=middle, quality=quality, subsampling=2)
        if abs(len(best) - size) <= 0.01 * size:
            break
        low, high = (middle, high) if len(best) < size else (low, middle)
    return best


def exif(orientation: int, byte_order: str = "<") -> bytes:
    """A minimal EXIF block in JPEG's form, with its prefix."""
    mark = b"II*\0" if byte_order == "<" else b"MM\0*"
    entry = struct.pack(byte_order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(byte_order + "IH", 8, 1) + entry + b"\0\0\0\0"


def png_header(width: int, height: int, bits: int = 8, colour_type: int = 2) -> bytes:
    """A PNG that is nothing but its header and an empty IDAT: a claim without pixels."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(ihdr) + chunk(b"IDAT") + chunk(b"IEND")


def chunk(kind_and_body: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return (
        struct.pack(">I", len(kind_and_body) - 4)
        + kind_and_body
        + struct.pack(">I", zlib.crc32(kind_and_body))
    )


def jpeg_claiming(width: int, height: int) -> bytes:
    """A whole small JPEG whose frame header lies about its size."""
    data = bytearray(jpeg(16, 16))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def psnr(left: Pixels, right: Pixels) -> float:
    """Peak signal-to-noise ratio in dB; infinity where equal."""
    error = np.mean((left.astype(np.float64) - right) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
