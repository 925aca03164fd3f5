"""Pipelines that are compared make the same input of the same image."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from beyond_serve.bench.experiments.pipelines import Pipeline, Task, best_pipelines, plain_pipelines
from beyond_serve.preprocess.plan import PreprocessPlan

SIZE = (600, 450)


def smooth_jpeg() -> bytes:
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32)
    pixels = np.stack([x / 3, y / 2, 255 - (x + y) / 6], axis=-1).clip(0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


TASK = Task.of(smooth_jpeg(), PreprocessPlan())


def made_by(pipeline: Pipeline) -> np.ndarray:
    """float32 [2, 3, H, W], normalised here where the pipeline leaves it to the graph."""
    if pipeline.output == "float32":
        rows = np.zeros((2, 3, 224, 224), np.float32)
        pipeline.make(TASK)(rows)
        return rows
    pixels = np.zeros((2, 224, 224, 3), np.uint8)
    pipeline.make(TASK)(pixels)
    return (pixels * TASK.gain - TASK.offset).transpose(0, 3, 1, 2)


PIPELINES = [*plain_pipelines(), *best_pipelines()]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda pipeline: pipeline.name)
def test_every_pipeline_makes_the_same_input(pipeline: Pipeline) -> None:
    made, reference = made_by(pipeline), made_by(plain_pipelines()[0])
    # One level of 255 is about 0.017; a shift by a pixel here about 0.02.
    assert np.abs(made - reference).mean() < 0.03
    assert np.array_equal(made[0], made[1])


def test_gain_and_offset_are_the_normalisation() -> None:
    assert np.allclose(
        255 * TASK.gain - TASK.offset, (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    )
