"""The kernels' part, on kernels.cu compiled for the CPU, and on kernels that err."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.bench.gpu_check.findings import Recorder, read_findings
from beyond_serve.bench.gpu_check.parts.kernels import check_kernels, image_inputs, scores_with_trouble
from beyond_serve.bench.gpu_check.reference import normalised
from beyond_serve.engines.cuda.kernels import Kernels
from tests.engines.cuda import cpu_kernels

pytestmark = pytest.mark.skipif(cpu_kernels.COMPILER is None, reason="g++ is not installed")
SIZES, CLASSES = ((7, 5),), (1, 2, 10, 100)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return cpu_kernels.build(tmp_path_factory.mktemp("kernels"))


def checked(library: ctypes.CDLL, folder: Path, spoil=lambda kernels: kernels) -> list[tuple[bool, str]]:
    runtime = cpu_kernels.CpuKernelRuntime(library)
    kernels = spoil(Kernels(runtime, compile_source=lambda source, capability: b""))
    record = Recorder(folder / "findings")
    check_kernels(runtime, kernels, record, np.random.default_rng(1), sizes=SIZES, classes=CLASSES)
    assert runtime.alive == 0
    return [(check.met, check.measured) for check in read_findings(folder / "findings").checks]


def test_our_kernels_agree_with_numpy(library: ctypes.CDLL, tmp_path: Path) -> None:
    assert checked(library, tmp_path) == [(True, "as asked"), (True, "as asked")]


class _Spoiled:
    """Kernels that work on one row less than they are told."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def normalise(self, *, rows: int, **arguments) -> None:
        self._kernels.normalise(rows=rows - 1, **arguments)

    def rank(self, *, rows: int, **arguments) -> None:
        self._kernels.rank(rows=rows - 1, **arguments)


def test_a_row_that_is_forgotten_is_found(library: ctypes.CDLL, tmp_path: Path) -> None:
    found = checked(library, tmp_path, _Spoiled)
    assert [met for met, _ in found] == [False, False]
    assert "1 rows (7, 5) as FP32 NHWC" in found[0][1]


def test_every_kind_of_input_is_tried() -> None:
    kinds = {(i.datatype, i.layout, i.channels, i.reverse) for i in image_inputs(SIZES)}
    assert len(kinds) == 3 * 2 * 2 * 2


def test_scores_hold_what_goes_wrong() -> None:
    scores = scores_with_trouble(19, 10, np.random.default_rng(0))
    assert np.isnan(scores[2]).any()
    assert np.isposinf(scores[4]).any()
    assert np.isneginf(scores[5]).all()
    assert any(len(np.unique(row)) < 10 for row in scores[1::4])


def test_normalised_by_hand() -> None:
    image = next(
        i
        for i in image_inputs(((1, 1),))
        if (i.datatype, i.layout, i.channels, i.reverse) == ("FP32", "NCHW", 3, True)
    )
    found = normalised(np.array([[[[10, 20, 255]]]], np.uint8), image)
    assert found.shape == (1, 3, 1, 1)
    assert found.ravel() == pytest.approx(
        [(1 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (10 / 255 - 0.406) / 0.225], 1e-5
    )
