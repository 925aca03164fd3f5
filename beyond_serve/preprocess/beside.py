"""Reading the files that lie beside a model."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beyond_serve.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Sidecar:
    """NAME.toml beside the model NAME.onnx; `content` has only keys that exist."""

    path: Path
    content: dict[str, Any]


_SIDECAR_KEYS = ("preprocess", "labels", "pt2")


def read_sidecar(model_path: Path) -> Sidecar | None:
    """The sidecar, None if there is none.

    Raises:
        ConfigError: unreadable, no TOML, or with an unknown key.
    """
    path = model_path.with_suffix(".toml")
    if not path.is_file():
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    check_keys(content, _SIDECAR_KEYS, str(path))
    return Sidecar(path, content)


def check_keys(content: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises ConfigError naming the first key that is not known."""
    for key in content:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'", f"known here: {', '.join(known)}")


def read_json(path: Path) -> dict[str, Any]:
    """Raises ConfigError: unreadable, or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: is no JSON object")
    return content
