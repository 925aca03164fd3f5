"""The seam to torch and the model libraries: imported when an export needs them, and kept quiet."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from beyond_serve.engines.foreign import one_line, require
from beyond_serve.errors import ModelLoadError

INSTALL = "pip install 'beyond-serve[export]'"
_NOISY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "transformers", "timm", "huggingface_hub")


def load(module: str) -> Any:
    """Import one of the extra's modules.

    Raises:
        ModelLoadError: it is not installed, or is installed and broken.
    """
    try:
        return require(module)
    except ModelLoadError as error:
        raise ModelLoadError(f"exporting needs {_package(module)}: {error.message}", INSTALL) from error
    except RuntimeError as error:
        # torchvision, built for another torch, says so by failing to find its own operators.
        raise ModelLoadError(
            f"the package {_package(module)} cannot be imported: {one_line(error)}",
            "torch and torchvision must come from the same index, both for CPU or both for the same CUDA",
        ) from error


def require_all(library: str) -> None:
    """Raises ModelLoadError if something that an export with `library` needs is missing, before any work."""
    for module in ("torch", "onnxscript", library):
        load(module)


@contextmanager
def quiet() -> Iterator[None]:
    """Within it the libraries' warnings and progress bars stay off the terminal; errors still raise."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _package(module: str) -> str:
    return module.partition(".")[0]
