from __future__ import annotations

import io

import numpy as np
import pytest

from beyond_serve.client.images import read_image


def test_bytes_are_not_copied() -> None:
    data = b"image"

    assert read_image(data) is data
    assert read_image(memoryview(data)) == data


def test_what_is_no_image() -> None:
    with pytest.raises(TypeError, match=r"not ndarray; arrays go through infer"):
        read_image(np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary mode"):
        read_image(io.StringIO("text"))  # type: ignore[arg-type]
