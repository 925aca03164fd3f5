"""Which model an experiment serves: one that was named, or one that is written for it."""

from __future__ import annotations

from pathlib import Path

from beyond_serve.bench.experiments.serving import ModelSource
from beyond_serve.bench.experiments.serving_arguments import model_source


def named_or_made(text: str, folder: Path, seed: int) -> ModelSource:
    """A file, demo, …, or a network of this package's own (`cnn-16`), which is then written into `folder`.

    Raises:
        ConfigError: neither; or onnx, which writes it, is not installed.
    """
    from beyond_serve.engines.foreign import require

    if Path(text).suffix or "=" in text or ":" in text or text == "demo":
        return model_source(text)
    require("onnx")
    from beyond_serve.bench.experiments.models.nets import FAMILY, write_nets

    made = next((net for net in FAMILY if net.name == text), None)
    if made is None:
        return model_source(text)
    return ModelSource(made.name, str(write_nets([made], folder, seed)[made.name]))
