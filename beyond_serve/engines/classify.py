"""From a batch's raw outputs to its best classes, for the whole batch at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.errors import BeyondError, EngineError

# Below this many classes a whole sort costs less than a partition and its repairs.
_SORT_ALL = 64


# Not frozen: that would triple the cost of making one, and one is made for every batch.
@dataclass(slots=True)
class BatchOutputs:
    """What an engine gave for a batch of n.

    Attributes:
        tensors: the model's outputs by name, each [n, …], in the model's own dtype.
        top_scores: float32 [n, k], falling; None unless classes were asked for.
        top_indices: int64 [n, k]; equal scores in the order of their index.
        row_errors: rows whose scores are no numbers, each with its own error: one request's NaN
            must not fail its neighbours. Their top_scores are NaN.
    """

    tensors: Mapping[str, NDArray[np.generic]]
    top_scores: NDArray[np.float32] | None = None
    top_indices: NDArray[np.int64] | None = None
    row_errors: Mapping[int, BeyondError] = field(default_factory=dict)


def classify(outputs: Mapping[str, NDArray[np.generic]], info: EngineInfo, top_k: int) -> BatchOutputs:
    """The `top_k` best classes of each row, as probabilities; none if `top_k` is 0.

    Logits become probabilities by softmax, a single logit by sigmoid; in float32 throughout.

    Raises:
        EngineError: classes are asked of a model that has no scores.
    """
    if top_k <= 0:
        return BatchOutputs(outputs)
    if info.scores is None:
        raise EngineError(
            "the model has no output of class scores ([n, classes])",
            "ask for its tensors over /v2, without top_k",
        )
    raw = outputs[info.scores]
    scores = raw.reshape(len(raw), -1).astype(np.float32, copy=False)
    # The methods' own functions: for small batches NumPy's wrappers cost more than the work.
    best = np.maximum.reduce(scores, axis=1, keepdims=True)
    # A NaN makes the maximum NaN; -inf alone is a class ruled out, and fine.
    finite = np.isfinite(best)
    bad = () if np.logical_and.reduce(finite, axis=None) else np.flatnonzero(~finite)
    if len(bad):
        scores = scores.copy()
        scores[bad] = best[bad] = 0
    indices = top_indices(scores, top_k)
    top = scores[np.arange(len(scores))[:, np.newaxis], indices]
    if not info.scores_are_probabilities:
        top = _probabilities(top, scores, best)
    if len(bad):
        top[bad] = np.nan
    return BatchOutputs(outputs, top, indices, {int(row): _not_finite(info.scores) for row in bad})


def ranked(top_scores: NDArray[np.float32], top_indices: NDArray[np.int64], info: EngineInfo) -> BatchOutputs:
    """The outcome of a context that ranked by itself: no tensors, and an error for each row of NaN."""
    bad = np.flatnonzero(np.isnan(top_scores[:, 0]))
    name = info.scores or "scores"
    return BatchOutputs({}, top_scores, top_indices, {int(row): _not_finite(name) for row in bad})


def _probabilities(
    top: NDArray[np.float32], scores: NDArray[np.float32], best: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Softmax of `scores` [n, C] at their `top` values [n, k]; `best` [n, 1] keeps exp from overflowing."""
    if scores.shape[1] == 1:
        half = np.exp(-np.abs(top))
        sigmoid: NDArray[np.float32] = np.where(top >= 0, 1, half) / (1 + half)
        return sigmoid
    total: NDArray[np.float32] = np.exp(scores - best).sum(axis=1, keepdims=True)
    result: NDArray[np.float32] = np.exp(top - best) / total
    return result


def top_indices(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Columns of the k largest of each row, falling, ties by lower index. [n, min(k, C)] int64."""
    count = scores.shape[1]
    k = min(k, count)
    if count <= _SORT_ALL:
        return np.negative(scores).argsort(axis=1, kind="stable")[:, :k]
    chosen = np.argpartition(scores, count - k, axis=1)[:, count - k :]
    chosen.sort(axis=1)
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    result: NDArray[np.int64] = np.take_along_axis(chosen, order, axis=1)
    # The partition takes any of those that equal the last; only then is the whole row sorted.
    last = values.min(axis=1, keepdims=True)
    tied = (scores == last).sum(axis=1) > (values == last).sum(axis=1)
    for row in np.flatnonzero(tied):
        result[row] = np.argsort(-scores[row], kind="stable")[:k]
    return result


def _not_finite(name: str) -> EngineError:
    return EngineError(
        f"the model's scores '{name}' are not finite (NaN or infinite) for this input",
        "check the input for NaN, and the model at a higher precision (--precision fp32)",
    )
