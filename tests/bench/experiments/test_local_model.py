"""A model run without a server, from images and from tensors."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.bench.experiments.frameworks.measure import probe_rows
from beyond_serve.bench.experiments.local_model import Block, infer, local_model
from beyond_serve.engines.precision import probe_images
from beyond_serve.engines.protocol import IMAGE
from beyond_serve.errors import ConfigError


def test_images_that_the_graph_normalises_and_tensors_give_the_same_answers(tmp_path: Path) -> None:
    model = local_model("demo", tmp_path)
    assert model.tensor_shape == (3, 32, 32)
    with (
        contextlib.closing(model.load("onnxruntime", "fp32")) as engine,
        contextlib.closing(engine.create_context()) as context,
    ):
        from_images = infer(context, probe_images(model.plan.output_shape))["logits"]
        from_tensors = infer(context, probe_rows(model))["logits"]
    assert np.allclose(from_images, from_tensors, atol=1e-3)


def test_a_block_is_its_array() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    block = Block(images)
    assert block.key == IMAGE
    assert len(block) == 2
    assert block.stacked() is images
    assert Block(np.zeros((2, 3, 4, 4), np.float32)).key == ("tensor", (3, 4, 4))


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model is at"):
        local_model(str(tmp_path / "none.onnx"), tmp_path)
