from __future__ import annotations

import pickle

import numpy as np
import pytest

from beyond_serve.engines.classify import classify, top_indices
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.errors import EngineError


def info(*, probabilities: bool = False, scores: str | None = "y") -> EngineInfo:
    return EngineInfo("null", "fp32", "cpu", (), (), scores=scores, scores_are_probabilities=probabilities)


def reference(scores: np.ndarray, k: int) -> np.ndarray:
    return np.array([sorted(range(len(row)), key=lambda i: (-row[i], i))[:k] for row in scores])


@pytest.mark.parametrize("count", [1, 2, 10, 64, 65, 1000])
@pytest.mark.parametrize("rows", [1, 5])
def test_top_k_equals_a_plain_sort(rows: int, count: int) -> None:
    rng = np.random.default_rng(count)
    distinct = rng.standard_normal((rows, count)).astype(np.float32)
    # Few values, so that ties lie on the border of the top.
    tied = rng.integers(0, 4, (rows, count)).astype(np.float32)
    for scores in (distinct, tied, np.zeros((rows, count), np.float32)):
        for k in (1, 5, count, count + 3):
            got = top_indices(scores, k)
            assert got.dtype == np.int64
            np.testing.assert_array_equal(got, reference(scores, min(k, count)))


def test_logits_become_probabilities() -> None:
    logits = np.array([[1.0, 3.0, 2.0], [1000.0, -1000.0, 0.0]], np.float32)
    result = classify({"y": logits}, info(), 3)
    powers = np.exp([3.0, 2.0, 1.0])
    np.testing.assert_allclose(result.top_scores[0], powers / powers.sum(), rtol=1e-6)
    np.testing.assert_array_equal(result.top_scores[1], [1, 0, 0])
    np.testing.assert_array_equal(result.top_indices, [[1, 2, 0], [0, 2, 1]])
    assert result.top_scores.dtype == np.float32


def test_probabilities_stay() -> None:
    values = np.array([[0.2, 0.7, 0.1]], np.float32)
    result = classify({"y": values}, info(probabilities=True), 2)
    np.testing.assert_array_equal(result.top_scores, np.array([[0.7, 0.2]], np.float32))


def test_half_precision_and_trailing_axes() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 200)).astype(np.float16)
    flat = classify({"y": scores}, info(), 5)
    deep = classify({"y": scores[:, :, None, None]}, info(), 5)
    np.testing.assert_array_equal(flat.top_scores, deep.top_scores)
    assert flat.top_scores.dtype == np.float32
    np.testing.assert_array_equal(flat.top_indices, reference(scores, 5))


def test_a_single_logit_is_a_sigmoid() -> None:
    result = classify({"y": np.array([[0.0], [2.0], [-200.0]], np.float32)}, info(), 5)
    np.testing.assert_allclose(result.top_scores[:, 0], [0.5, 1 / (1 + np.exp(-2)), 0], rtol=1e-6, atol=1e-30)
    assert result.top_scores.dtype == np.float32


def test_without_top_k_nothing_is_computed_and_no_scores_are_needed() -> None:
    outputs = {"map": np.zeros((2, 3, 4, 4), np.float32)}
    result = classify(outputs, info(scores=None), 0)
    assert result.tensors is outputs
    assert result.top_scores is None
    assert result.top_indices is None
    with pytest.raises(EngineError, match="no output of class scores"):
        classify(outputs, info(scores=None), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("count", [10, 100])
@pytest.mark.parametrize("probabilities", [False, True])
def test_one_rows_nan_is_its_own(bad: float, count: int, probabilities: bool) -> None:
    scores = np.random.default_rng(0).random((3, count)).astype(np.float32)
    clean = classify({"y": scores.copy()}, info(probabilities=probabilities), 5)
    scores[1, 4] = bad
    before = scores.copy()
    result = classify({"y": scores}, info(probabilities=probabilities), 5)
    assert set(result.row_errors) == {1}
    assert "not finite" in result.row_errors[1].message
    assert np.isnan(result.top_scores[1]).all()
    for row in (0, 2):
        np.testing.assert_array_equal(result.top_scores[row], clean.top_scores[row])
        np.testing.assert_array_equal(result.top_indices[row], clean.top_indices[row])
    np.testing.assert_array_equal(scores, before)


def test_a_class_ruled_out_is_no_error() -> None:
    scores = np.array([[0.0, -np.inf, 0.0]], np.float32)
    result = classify({"y": scores}, info(), 3)
    assert not result.row_errors
    np.testing.assert_array_equal(result.top_scores, [[0.5, 0.5, 0]])
    assert set(classify({"y": np.full((1, 3), -np.inf, np.float32)}, info(), 1).row_errors) == {0}


def test_read_only_outputs_are_fine_and_results_cross_processes() -> None:
    scores = np.array([[1.0, np.nan], [1.0, 2.0]], np.float32)
    scores.flags.writeable = False
    result = pickle.loads(pickle.dumps(classify({"y": scores}, info(), 1)))
    assert result.row_errors[0].code == "engine"
    np.testing.assert_array_equal(result.top_indices[1], [1])
