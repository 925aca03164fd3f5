"""A model's class names, from files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.beside import read_json, read_sidecar


def load_labels(model_path: Path | None) -> tuple[str, ...] | None:
    """Class names in the order of the model's outputs, or None if nothing beside it says.

    The first that exists: `labels` in NAME.toml (a list, or a file's name relative to it), NAME.labels.txt,
    `id2label` of config.json (transformers), `label_names` of config.json (timm), labels.txt. A text file
    has one label a line. Whether their number fits the model is for the caller to see.

    Raises:
        ConfigError: a file is there and cannot be used.
    """
    if model_path is None:
        return None
    sidecar = read_sidecar(model_path)
    if sidecar is not None and "labels" in sidecar.content:
        return _of_sidecar(sidecar.content["labels"], sidecar.path)
    own = model_path.with_name(model_path.stem + ".labels.txt")
    if own.is_file():
        return _lines(own)
    config = model_path.with_name("config.json")
    if config.is_file() and (labels := _of_config(read_json(config), config)) is not None:
        return labels
    shared = model_path.with_name("labels.txt")
    return _lines(shared) if shared.is_file() else None


def _of_sidecar(value: Any, path: Path) -> tuple[str, ...]:
    if isinstance(value, str):
        return _lines(path.parent / value)
    if isinstance(value, list) and value and all(isinstance(label, str) for label in value):
        return tuple(value)
    raise ConfigError(f"{path}: labels must be a list of texts or the name of a file")


def _of_config(content: dict[str, Any], path: Path) -> tuple[str, ...] | None:
    names = content.get("id2label")
    if names is None:
        names = content.get("label_names")
        if isinstance(names, list) and names:
            return tuple(map(str, names))
        return None
    if not isinstance(names, dict):
        raise ConfigError(f"{path}: id2label must be an object of numbers to names")
    try:
        by_index = {int(index): str(name) for index, name in names.items()}
    except ValueError:
        raise ConfigError(f"{path}: id2label has a key that is no number") from None
    if sorted(by_index) != list(range(len(by_index))):
        raise ConfigError(f"{path}: id2label does not number its labels from 0 without gaps")
    return tuple(by_index[index] for index in range(len(by_index))) or None


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ConfigError(f"{path}: holds no labels", "write one label a line")
    return tuple(line.strip() for line in lines)
