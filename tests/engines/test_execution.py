"""Who ranks the classes of a batch: the context where its scores are, or the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.execution import run_rows
from beyond_serve.engines.protocol import BatchRows
from tests.engines.batches import image_batch
from tests.fakes.engines import INFO

LOGITS = np.array([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]], np.float32)
RANKING = replace(INFO, ranks=2)


class Ranker:
    """Says which of its methods was called."""

    def __init__(self) -> None:
        self.called = ""

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Mapping[str, np.ndarray]:
        self.called = "infer"
        return {"logits": LOGITS}

    def rank(self, batch: BatchRows, timing: BatchTiming, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        self.called = "rank"
        scores = np.array([[0.7], [np.nan]], np.float32).repeat(top_k, axis=1)
        return scores, np.array([[1], [2]]).repeat(top_k, axis=1)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("info", "top_k", "tensors", "called"),
    [
        (RANKING, 1, False, "rank"),
        (RANKING, 2, False, "rank"),
        (RANKING, 3, False, "infer"),
        (RANKING, 2, True, "infer"),
        (RANKING, 0, True, "infer"),
        (INFO, 2, False, "infer"),
    ],
)
def test_the_context_ranks_what_it_can_and_nobody_wants_whole(
    info, top_k: int, tensors: bool, called: str
) -> None:
    context = Ranker()
    batch = image_batch(np.zeros((2, 2, 2, 3), np.uint8))
    outputs, error = run_rows(context, info, batch, BatchTiming(), top_k, tensors=tensors)
    assert error is None
    assert context.called == called
    assert outputs is not None
    if called == "infer":
        assert set(outputs.tensors) == {"logits"}
    if called == "rank":
        assert outputs.tensors == {}
        assert outputs.top_indices.shape == (2, top_k)
        # A row of NaN has its own error; its neighbour has its answer.
        assert list(outputs.row_errors) == [1]
        assert "'logits' are not finite" in outputs.row_errors[1].message
