"""Engines that are right pass, and each way of being wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.bench.gpu_check.engine_check import EngineCheck
from beyond_serve.bench.gpu_check.findings import Findings, Recorder, read_findings
from beyond_serve.bench.gpu_check.reference import row_errors, worst
from tests.bench.gpu_check.fake_engine import MAX_BATCH, World
from tests.engines.cuda.fake_network import BYTE_INPUT, float_input

SIZES = (1, 2, 3, 5, MAX_BATCH, MAX_BATCH + 3)


def checked(
    world: World, folder: Path, spoil: Callable[[np.ndarray], np.ndarray] = lambda scores: scores
) -> Findings:
    record = Recorder(folder / "findings")
    reference = world.reference()
    check = EngineCheck(
        "fake", world.engine, lambda pixels: spoil(reference(pixels)), 1e-4, np.random.default_rng(3)
    )
    check.images(record, SIZES)
    check.tensors(record, SIZES, world.prepared)
    check.at_once(record, 4, 5)
    check.ranks(record, SIZES)
    check.nan_rows(record, world.prepared)
    world.engine.close()
    assert check.rows == 3 * sum(SIZES) + 2 * 5 * 4
    return read_findings(folder / "findings")


@pytest.mark.parametrize("given", [BYTE_INPUT, float_input(), float_input("FP16")], ids=["u8", "f32", "f16"])
def test_a_right_engine(tmp_path: Path, given) -> None:
    world = World(given)
    found = checked(world, tmp_path)
    assert [check.what for check in found.checks if not check.met] == []
    assert len(found.checks) + len(found.skips) == 5
    assert ["NaN" in skip.what for skip in found.skips] == ([True] if given is BYTE_INPUT else [])
    assert world.runtime.alive == 0


def test_one_wrong_row_is_found(tmp_path: Path) -> None:
    def spoil(scores: np.ndarray) -> np.ndarray:
        scores = scores.copy()
        scores[-1] *= 1.001
        return scores

    found = checked(World(), tmp_path, spoil)
    assert [check.met for check in found.checks] == [False, False, False, True]


class _WrongOrder:
    """An engine whose rank is not its scores'."""

    def __init__(self, world: World) -> None:
        self._engine = world.engine
        self.info = world.engine.info

    def create_context(self):
        context = self._engine.create_context()
        rank = context.rank
        context.rank = lambda *arguments: tuple(np.roll(part, 1, axis=1) for part in rank(*arguments))
        return context


def test_ranks_that_are_not_classifys(tmp_path: Path) -> None:
    world, record = World(), Recorder(tmp_path / "findings")
    engine = _WrongOrder(world)
    check = EngineCheck("fake", engine, world.reference(), 1e-4, np.random.default_rng(3))
    check.ranks(record, SIZES)
    (found,) = read_findings(tmp_path / "findings").checks
    assert not found.met
    assert "has the classes" in found.measured


def test_errors_are_of_rows() -> None:
    expected = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    found = np.array([[3.0, 4.5], [0.0, 0.0], [np.nan, 0.0], [1.0, 1.0]])
    assert row_errors(found, expected).tolist() == pytest.approx([0.1, 0.0, np.nan, 0.0], nan_ok=True)
    assert np.isnan(worst(row_errors(found, expected)))
    assert row_errors(np.ones((1, 2)), np.zeros((1, 2))).tolist() == [np.inf]
