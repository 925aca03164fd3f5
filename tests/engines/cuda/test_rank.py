"""kernels.cu's ranking, compiled for the CPU, against `classify`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beyond_serve.engines.classify import classify
from beyond_serve.engines.cuda.kernels import RANKED, RANKS, rank_threads
from beyond_serve.engines.protocol import EngineInfo
from tests.engines.cuda.cpu_kernels import Device
from tests.engines.cuda.kernel_inputs import scores_of, stored


def classified(scores: np.ndarray, k: int, *, probabilities: bool) -> tuple[np.ndarray, np.ndarray]:
    info = EngineInfo("x", "fp32", "cpu", (), (), scores="y", scores_are_probabilities=probabilities)
    result = classify({"y": scores}, info, k)
    assert result.top_scores is not None
    assert result.top_indices is not None
    return result.top_scores, result.top_indices


def assert_ranked(device: Device, scores: np.ndarray, k: int, datatype: str, *, probabilities: bool) -> None:
    want, want_indices = classified(scores, k, probabilities=probabilities)
    got, indices = device.rank(stored(scores, datatype), k, datatype=datatype, probabilities=probabilities)
    np.testing.assert_array_equal(indices, want_indices)
    if probabilities:
        np.testing.assert_array_equal(got, want)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-37)


CLASSES = st.integers(1, 70) | st.sampled_from([255, 256, 257, 1000, 1001, 4999, 5000])


@given(
    kind=st.sampled_from(["plain", "tied", "ruled out", "bad"]),
    rows=st.integers(1, 3),
    classes=CLASSES,
    k=st.integers(1, RANKS),
    datatype=st.sampled_from(RANKED),
    probabilities=st.booleans(),
    seed=st.integers(0, 99),
    backwards=st.booleans(),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_rank_is_classify(
    device: Device, kind: str, rows: int, classes: int, k: int, datatype: str, probabilities: bool,
    seed: int, backwards: bool,
) -> None:  # fmt: skip
    device.runtime.backwards = backwards
    scores = scores_of(kind, rows, classes, datatype, seed)
    assert_ranked(device, scores, min(k, classes), datatype, probabilities=probabilities)


@pytest.mark.parametrize("place", [0, 1, 31, 32, 255, 256, 999])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
def test_one_bad_score_anywhere_is_seen(device: Device, place: int, bad: float) -> None:
    scores = scores_of("plain", 3, 1000, "FP32", 3)
    scores[1, place] = bad
    top, indices = device.rank(scores, 3, datatype="FP32", probabilities=False)
    assert np.isnan(top[1]).all()
    assert np.isfinite(top[[0, 2]]).all()
    np.testing.assert_array_equal(indices[1], [0, 1, 2])


@pytest.mark.parametrize("datatype", RANKED)
def test_a_single_logit_is_a_sigmoid(device: Device, datatype: str) -> None:
    scores = np.array([[0.0], [2.0], [-2.0], [-90.0], [90.0], [-np.inf]], np.float32)
    assert_ranked(device, scores, 1, datatype, probabilities=False)
    assert_ranked(device, scores, 1, datatype, probabilities=True)


def test_a_million_classes(device: Device) -> None:
    scores = scores_of("plain", 1, 1_000_000, "FP16", 1)
    assert_ranked(device, scores, RANKS, "FP16", probabilities=False)
    assert device.runtime.launched[-1][3] == (1024, 1, 1)


def test_blocks_are_whole_warps() -> None:
    sizes = [rank_threads(classes) for classes in (1, 32, 33, 1000, 16384, 16385, 1_000_000)]
    assert sizes == [32, 32, 64, 256, 256, 1024, 1024]


@pytest.mark.parametrize(("k", "classes"), [(0, 10), (RANKS + 1, 100), (4, 3)])
def test_more_ranks_than_there_are_is_refused(device: Device, k: int, classes: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}"):
        device.rank(np.zeros((1, classes), np.float32), k, datatype="FP32", probabilities=False)
