"""Files that a long build will write."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from beyond_serve.errors import ConfigError


def check_output(files: Sequence[Path], *, overwrite: bool) -> None:
    """Before minutes are spent on what cannot be kept; makes the folder.

    Raises:
        ConfigError: a file exists already, or its folder cannot be written to.
    """
    there = [path for path in files if path.exists()]
    if there and not overwrite:
        raise ConfigError(f"{there[0]} exists already", "--overwrite replaces it, or choose another -o")
    folder = files[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}", "choose another -o") from error
