"""Which images a load carries: sets of encoded images with weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from beyond_serve.bench.images import FULL_HD, LARGE, MEDIUM, SMALL, TWELVE_MEGAPIXELS, paper_image
from beyond_serve.errors import ConfigError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
SPECS = {
    "small": SMALL,
    "medium": MEDIUM,
    "large": LARGE,
    "1080p": FULL_HD,
    "12mpx": TWELVE_MEGAPIXELS,
}
_HINT = f"name one or more of {', '.join(SPECS)}, as in medium or small:70,large:10, or a folder of images"


class MixImage(NamedTuple):
    """One encoded image and how often it is sent, beside the others' weights."""

    name: str
    data: bytes
    weight: float


ImageMix = tuple[MixImage, ...]


def image_mix(text: str, seed: int = 0) -> ImageMix:
    """The images that `text` names: sizes with weights ("small:70,medium:20"), or a folder or a file.

    Raises:
        ConfigError: a name, a weight or a folder that is none.
    """
    names = [part.partition(":") for part in text.split(",")]
    if all(name in SPECS for name, _, _ in names):
        return tuple(
            MixImage(name, paper_image(SPECS[name], seed), _weight(weight) if colon else 1.0)
            for name, colon, weight in names
        )
    path = Path(text)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return (MixImage(path.name, _read(path), 1.0),)
    raise ConfigError(f"no image set and no folder is named '{text}'", _HINT)


def check_mix(images: Sequence[MixImage]) -> None:
    """Raises `ConfigError` if nothing can be drawn from `images`."""
    if not images:
        raise ConfigError("there are no images to send", _HINT)
    if any(weight < 0 for _, _, weight in images) or sum(weight for _, _, weight in images) <= 0:
        raise ConfigError("the images' weights must be 0 or more, and one above 0", _HINT)
    if len(images) > 65535:
        raise ConfigError(f"{len(images)} images are more than 65535", "take a part of the folder")


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise ConfigError(f"'{text}' is no weight", _HINT)
    return weight


def _folder(folder: Path) -> ImageMix:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise ConfigError(f"the folder {folder} holds no images", f"of {', '.join(sorted(SUFFIXES))}")
    return tuple(MixImage(path.name, _read(path), 1.0) for path in files)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror or error}", "check its permissions"
        ) from error
