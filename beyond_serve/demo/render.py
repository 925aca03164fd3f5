"""Draws an 8x8 handwritten digit as a photograph-like colour image of any size, and encodes it as JPEG.

Everything random comes from the generator that the caller passes, so an image is a function of its seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

SHORTEST_SIDE = 60
LONGEST_SIDE = 900
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST_CONTRAST = 70.0


@dataclass(frozen=True, slots=True)
class Scene:
    """How one digit is drawn.

    Attributes:
        width, height: of the image, pixels.
        glyph: side of the square that the digit's 8x8 grid fills, as a part of the image's shorter side.
        shift: of the digit's centre from the image's centre (x, y), as parts of the shorter side.
        angle: degrees, anticlockwise.
        shear: horizontal, per unit of height.
        threshold: stroke strength (0 to 1) at which ink begins; lower draws thicker strokes.
        edge: width of the ink's soft edge, in units of stroke strength.
        ink, paper: RGB, 0 to 255.
        lighting: brightness difference (x, y) across the image, grey levels.
        noise: standard deviation of the sensor noise, grey levels.
        quality: of the JPEG, 1 to 100.
    """

    width: int
    height: int
    glyph: float
    shift: tuple[float, float]
    angle: float
    shear: float
    threshold: float
    edge: float
    ink: NDArray[np.float32]
    paper: NDArray[np.float32]
    lighting: tuple[float, float]
    noise: float
    quality: int


def random_scene(rng: np.random.Generator, size: tuple[int, int] | None = None) -> Scene:
    """Draws a scene; `size` (width, height) fixes the image's size, otherwise it varies log-uniformly."""
    width, height = size or _random_size(rng)
    ink, paper = _random_colours(rng)
    return Scene(
        width=width,
        height=height,
        glyph=rng.uniform(0.75, 1.0),
        shift=(rng.uniform(-0.07, 0.07), rng.uniform(-0.07, 0.07)),
        angle=rng.uniform(-8.0, 8.0),
        shear=rng.uniform(-0.12, 0.12),
        threshold=rng.uniform(0.4, 0.55),
        edge=rng.uniform(0.2, 0.5),
        ink=ink,
        paper=paper,
        lighting=(rng.uniform(-20, 20), rng.uniform(-20, 20)),
        noise=rng.uniform(0.0, 10.0),
        quality=int(rng.integers(50, 96)),
    )


def draw(digit: NDArray[np.float32], scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws one digit.

    digit: [8, 8], 0 (paper) to 1 (full stroke).
    Returns [height, width, 3] uint8 RGB.
    """
    strength = cv2.warpAffine(
        np.pad(digit, 1), _placement(scene), (scene.width, scene.height), flags=cv2.INTER_CUBIC
    )
    coverage = np.clip((strength - scene.threshold) / scene.edge + 0.5, 0.0, 1.0)
    across = np.linspace(-0.5, 0.5, scene.width, dtype=np.float32) * scene.lighting[0]
    down = np.linspace(-0.5, 0.5, scene.height, dtype=np.float32) * scene.lighting[1]
    shade = across[None, :] + down[:, None]
    shade += rng.standard_normal(shade.shape, dtype=np.float32) * np.float32(scene.noise)
    image = scene.paper + coverage[..., None] * (scene.ink - scene.paper) + shade[..., None]
    pixels: NDArray[np.uint8] = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return pixels


def encode(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encodes [H, W, 3] uint8 RGB as a baseline JPEG with chroma subsampled 4:2:0."""
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    return data


def render(digit: NDArray[np.float32], rng: np.random.Generator) -> bytes:
    """Draws one digit in a random scene and returns it as JPEG."""
    scene = random_scene(rng)
    return encode(draw(digit, scene, rng), scene.quality)


def _placement(scene: Scene) -> NDArray[np.float64]:
    """Affine map [2, 3] from the padded 10x10 grid to the image."""
    side = min(scene.width, scene.height)
    scale = side * scene.glyph / 8.0
    turn = math.radians(scene.angle)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    linear = scale * rotation @ np.array([[1.0, scene.shear], [0.0, 1.0]])
    centre = np.array([scene.width - 1, scene.height - 1]) / 2.0 + np.array(scene.shift) * side
    grid_centre = np.array([4.5, 4.5])
    return np.column_stack([linear, centre - linear @ grid_centre])


def _random_size(rng: np.random.Generator) -> tuple[int, int]:
    shorter = math.exp(rng.uniform(math.log(SHORTEST_SIDE), math.log(LONGEST_SIDE / 1.5)))
    longer = shorter * rng.uniform(1.0, 1.5)
    sides = (round(shorter), round(longer))
    return sides if rng.random() < 0.5 else sides[::-1]


def _random_colours(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ink and paper whose brightness differs enough to be read; either may be the lighter one."""
    while True:
        ink, paper = rng.uniform(0, 255, (2, 3)).astype(np.float32)
        if abs(float(_LUMA @ (ink - paper))) >= _LEAST_CONTRAST:
            return ink, paper
