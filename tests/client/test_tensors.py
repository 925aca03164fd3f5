from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.client.tensors import infer_request
from beyond_serve.errors import InvalidRequestError


def test_no_input() -> None:
    with pytest.raises(InvalidRequestError, match="no input"):
        infer_request("m", {}, None, None, None)


@pytest.mark.parametrize("value", [[1.0, 2.0], ["text"], "text", np.array([1, b"x"], dtype=object)])
def test_what_is_no_tensor(value: object) -> None:
    with pytest.raises(TypeError, match="'x'"):
        infer_request("m", {"x": value}, None, None, None)  # type: ignore[dict-item]


def test_fixed_width_bytes_are_refused_for_they_lose_zeros() -> None:
    with pytest.raises(InvalidRequestError, match="zero bytes"):
        infer_request("m", {"x": np.array([b"a\x00"])}, None, None, None)


def test_a_dtype_without_a_datatype() -> None:
    with pytest.raises(InvalidRequestError, match="complex64"):
        infer_request("m", {"x": np.zeros(1, np.complex64)}, None, None, None)
