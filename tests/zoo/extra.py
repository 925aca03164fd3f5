"""Which tests need the `export` extra, and tiny networks for them."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import pytest

from beyond_serve.zoo import plans
from beyond_serve.zoo.catalogue import Architecture


def _why_not(module: str) -> str | None:
    if find_spec("torch") is None or find_spec("onnxscript") is None or find_spec("transformers") is None:
        return "the export extra is not installed"
    try:
        importlib.import_module(module)
    except (ImportError, RuntimeError) as error:
        return f"{module} cannot be imported: {error}"
    return None


_NO_TRANSFORMERS, _NO_TIMM = _why_not("transformers"), _why_not("timm")

needs_transformers = pytest.mark.skipif(_NO_TRANSFORMERS is not None, reason=str(_NO_TRANSFORMERS))
needs_timm = pytest.mark.skipif(_NO_TIMM is not None, reason=str(_NO_TIMM))

TINY_RESNET = Architecture(
    "tiny-resnet", "transformers", "nobody/tiny-resnet", "resnet", 32,
    settings={
        "depths": [1, 1], "hidden_sizes": [8, 16], "embedding_size": 8, "layer_type": "basic", "num_labels": 5
    },
    plan=plans.CONVNEXT,
)  # fmt: skip
TINY_VIT = Architecture(
    "tiny-vit", "transformers", "nobody/tiny-vit", "vit", 32,
    settings={
        "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_labels": 5,
    },
    plan=plans.VIT,
)  # fmt: skip
