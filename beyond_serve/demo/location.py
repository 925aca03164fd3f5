"""Where the demo model lies in the installed package. `--model demo` means this file."""

from __future__ import annotations

from pathlib import Path

from beyond_serve.errors import ModelLoadError

DEMO_MODEL = Path(__file__).with_name("digits.onnx")
"""Its preprocessing and labels are in the `.toml` file of the same name beside it."""


def demo_model() -> Path:
    """The demo model's file. Raises ModelLoadError if it was never made."""
    if not DEMO_MODEL.is_file():
        raise ModelLoadError(f"the demo model '{DEMO_MODEL}' is not there", "make it: beyond-models demo")
    return DEMO_MODEL
