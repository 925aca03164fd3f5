"""Raw requests; what else becomes of inputs is in test_infer.py."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.oip.inputs import raw_input
from beyond_serve.wire.oip import InferInput
from tests.server.oip.fakes import engine_info

ROWS = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)


def test_a_raw_body_is_one_image() -> None:
    assert raw_input(engine_info(), b"jpeg") == InferInput("image", "BYTES", (1,), [b"jpeg"])


def test_a_raw_body_may_be_rows() -> None:
    given = raw_input(engine_info(image_shape=None), ROWS.tobytes())
    assert (given.name, given.shape) == ("pixels", (2, 3, 2, 2))


@pytest.mark.parametrize("body", [b"", b"123"])
def test_rows_must_be_whole(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="no whole number of rows"):
        raw_input(engine_info(image_shape=None), body)


def test_free_sizes_cannot_be_guessed() -> None:
    free = TensorSpec("pixels", "FP32", (-1, 3, -1, -1))
    with pytest.raises(InvalidRequestError, match="cannot say the shape"):
        raw_input(engine_info(image_shape=None, inputs=(free,)), ROWS.tobytes())
