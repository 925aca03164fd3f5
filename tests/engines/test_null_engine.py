from __future__ import annotations

import pytest

from beyond_serve.engines.null_engine import NullEngine, parse_null
from beyond_serve.errors import ModelLoadError
from tests.engines.batches import encoded_batch, infer


@pytest.mark.parametrize(
    ("source", "size"),
    [("null:", None), ("null:224", (224, 224)), ("null:224x320", (224, 320)), ("null:1", (1, 1))],
)
def test_sizes(source: str, size: tuple[int, int] | None) -> None:
    assert parse_null(source).size == size


@pytest.mark.parametrize(
    "source", ["null:0", "null:-1", "null:a", "null:224x", "null:16385", "null:2x2x2", "null:²"]
)
def test_what_is_no_size(source: str) -> None:
    with pytest.raises(ModelLoadError, match="is no null engine"):
        parse_null(source)


def test_bytes_or_images() -> None:
    takes_bytes = NullEngine(parse_null("null:"), 4).info
    assert takes_bytes.takes_encoded
    assert takes_bytes.image_shape is None
    assert takes_bytes.inputs == ()
    takes_images = NullEngine(parse_null("null:224x320"), 4).info
    assert not takes_images.takes_encoded
    assert takes_images.image_shape == (224, 320, 3)
    assert takes_images.inline
    assert takes_bytes.inline


def test_no_row_is_touched() -> None:
    class Untouchable:
        key = "encoded"

        def __len__(self) -> int:
            return 3

    outputs = NullEngine(parse_null("null:"), 4).create_context()
    scores = infer(outputs, Untouchable())["scores"]
    assert scores.shape == (3, 10)
    assert scores[:, 0].tolist() == [1, 1, 1]
    assert scores.sum() == 3
    assert infer(outputs, encoded_batch(9))["scores"].shape == (9, 10)
