"""JPEGs of a given size in pixels and in bytes: both decide what decoding costs.

Source: Beyond Inference 4.2 (Fig. 6), whose three ImageNet images are 60x70 at 4 kB, 500x375 at 121 kB
and 3564x2880 at 9528 kB. Content is a smooth scene with noise over it; the noise's strength is what the
bytes are tuned by.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """A JPEG to make. kilobytes are of 1000 bytes."""

    name: str
    width: int
    height: int
    kilobytes: float

    @property
    def bits_per_pixel(self) -> float:
        return self.kilobytes * 8000 / (self.width * self.height)


SMALL = ImageSpec("small", 60, 70, 4)
MEDIUM = ImageSpec("medium", 500, 375, 121)
LARGE = ImageSpec("large", 3564, 2880, 9528)
FULL_HD = ImageSpec("1080p", 1920, 1080, 400)
TWELVE_MEGAPIXELS = ImageSpec("12 Mpx", 4000, 3000, 2900)


@functools.cache
def paper_image(spec: ImageSpec, seed: int = 0) -> bytes:
    """A baseline 4:2:0 JPEG of `spec`, its bytes within 1 %; the same for the same seed and libraries.

    Raises:
        ValueError: no JPEG of that size can have so many, or so few, bytes.
    """
    scene, noise = _scene(spec.width, spec.height), _noise(spec.width, spec.height, seed)
    target = spec.kilobytes * 1000
    # Photographs are stored at 75 to 95; more only where the bytes cannot be reached otherwise.
    for quality in (75, 85, 90, 95, 98, 100):
        if len(_encode(scene, noise, 255.0, quality)) >= target:
            return _tuned(scene, noise, quality, target)
    raise ValueError(f"{spec.name}: {spec.bits_per_pixel:.1f} bits per pixel are more than a JPEG holds")


def _tuned(scene: NDArray[np.float32], noise: NDArray[np.float32], quality: int, target: float) -> bytes:
    low, high = 0.0, 255.0
    for _ in range(40):
        middle = (low + high) / 2
        encoded = _encode(scene, noise, middle, quality)
        if abs(len(encoded) - target) <= TOLERANCE / 2 * target:
            return encoded
        low, high = (middle, high) if len(encoded) < target else (low, middle)
    raise ValueError(f"no noise makes {target:.0f} bytes at quality {quality}")


def _scene(width: int, height: int) -> NDArray[np.float32]:
    """Soft gradients and shapes, float32 [H, W, 3], 0 to 255."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x /= width
    y /= height
    waves = [
        np.sin(2 * np.pi * (f * x + g * y + p)) for f, g, p in ((1, 0.5, 0), (0.5, 1.5, 0.3), (2, 1, 0.6))
    ]
    disc = (((x - 0.5) ** 2 + (y - 0.45) ** 2) < 0.08).astype(np.float32)
    return np.stack([128 + 70 * wave + 40 * disc for wave in waves], axis=-1).astype(np.float32)


def _noise(width: int, height: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((height, width, 3), dtype=np.float32)


def _encode(scene: NDArray[np.float32], noise: NDArray[np.float32], strength: float, quality: int) -> bytes:
    pixels = np.clip(scene + strength * noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()
