from __future__ import annotations

import pytest

from beyond_serve.engines.layout import ImageAxes, find_scores, fits, image_axes
from beyond_serve.engines.protocol import TensorSpec


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((-1, 3, 224, 320), ImageAxes("NCHW", 3, (224, 320))),
        ((-1, 224, 320, 3), ImageAxes("NHWC", 3, (224, 320))),
        ((1, 1, 28, 28), ImageAxes("NCHW", 1, (28, 28))),
        ((1, 28, 28, 1), ImageAxes("NHWC", 1, (28, 28))),
        ((-1, 3, -1, -1), ImageAxes("NCHW", 3, None)),
        ((-1, 3, 224, -1), ImageAxes("NCHW", 3, None)),
        ((-1, 3, 224, 3), ImageAxes("NCHW", 3, (224, 3))),
        ((-1, 1, 28, 3), ImageAxes("NHWC", 3, (1, 28))),
        ((-1, 4, 8, 8), None),
        ((-1, -1, 8, 8), None),
        ((-1, 3, 8), None),
        ((), None),
    ],
)
def test_axes(shape: tuple[int, ...], axes: ImageAxes | None) -> None:
    assert image_axes(shape) == axes


@pytest.mark.parametrize(
    ("row", "shape", "does"),
    [
        ((3, 4, 5), (-1, 3, 4, 5), True),
        ((3, 4, 5), (-1, 3, -1, -1), True),
        ((3, 4, 6), (-1, 3, 4, 5), False),
        ((3, 4), (-1, 3, 4, 5), False),
        ((3, 0, 5), (-1, 3, -1, 5), False),
    ],
)
def test_fits(row: tuple[int, ...], shape: tuple[int, ...], does: bool) -> None:
    assert fits(row, shape) is does


def test_which_output_is_scores() -> None:
    boxes, features = TensorSpec("boxes", "FP32", (-1, 100, 4)), TensorSpec("features", "FP32", (-1, 512))
    named, labels = TensorSpec("Logits", "FP32", (-1, 10)), TensorSpec("labels", "INT64", (-1, 1))
    pooled = TensorSpec("out", "FP16", (-1, 10, 1, 1))
    assert find_scores([boxes, features, named]) == "Logits"
    assert find_scores([labels, features]) == "features"
    assert find_scores([pooled]) == "out"
    assert find_scores([boxes, labels]) is None
