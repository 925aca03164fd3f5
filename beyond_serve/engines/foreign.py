"""The seam to foreign libraries: imported only when needed, their errors told in one line."""

from __future__ import annotations

import importlib
from typing import Any

from beyond_serve.errors import ModelLoadError

_LINE_LIMIT = 300
# Where in the library's own sources it happened.
_NOISE = ("Exception from ", "FrontEnd API", "Check '")


def require(module: str, package: str | None = None) -> Any:
    """Import `module`.

    Raises:
        ModelLoadError: it is not installed, or cannot be imported; the hint names the pip package.
    """
    package = package or module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            raise ModelLoadError(
                f"the package {package} is not installed", f"pip install {package}"
            ) from error
        raise ModelLoadError(
            f"the package {package} cannot be imported: {one_line(error)}",
            f"pip install --force-reinstall {package}",
        ) from error


def one_line(error: BaseException) -> str:
    """What a foreign error says, without the source lines that C++ libraries put before it."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(_NOISE)]
    text = " ".join(told) or type(error).__name__
    return text if len(text) <= _LINE_LIMIT else text[: _LINE_LIMIT - 1] + "…"
