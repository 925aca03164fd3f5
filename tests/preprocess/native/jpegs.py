"""JPEGs for the native core's tests: generated, never stored."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image


def picture(width: int, height: int, seed: int = 0, noise: float = 20.0) -> Image.Image:
    """Smooth colours with noise on them: every coefficient of every block is busy."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(columns / 37 + rows / 91 + c) * 80 + np.cos(rows / (23 + c)) * 40 for c in range(3)]
    grain = np.random.default_rng(seed).normal(0, noise, (height, width, 3))
    return Image.fromarray(np.clip(128 + np.stack(waves, -1) + grain, 0, 255).astype(np.uint8))


def encode(
    image: Image.Image,
    quality: int = 85,
    subsampling: int = 2,
    *,
    progressive: bool = False,
    restart: int = 0,
) -> bytes:
    buffer = BytesIO()
    options = {} if image.mode == "L" else {"subsampling": subsampling}
    image.save(
        buffer, "JPEG", quality=quality, progressive=progressive, restart_marker_blocks=restart, **options
    )
    return buffer.getvalue()


def pixels(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")
