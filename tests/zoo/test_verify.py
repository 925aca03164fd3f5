from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.errors import ModelLoadError
from beyond_serve.zoo.verify import TOLERANCE, Logits, judge


def _logits(seed: int = 0) -> list[Logits]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((count, 5), dtype=np.float32) for count in (1, 3)]


def test_equal_logits_agree() -> None:
    agreement = judge(_logits(), _logits())
    assert agreement.difference == 0
    assert agreement.spread > 1


@pytest.mark.parametrize(("factor", "refused"), [(0.5, False), (2.0, True)])
def test_the_tolerance_is_a_share_of_the_spread(factor: float, refused: bool) -> None:
    expected = _logits()
    spread = judge(expected, expected).spread
    computed = [rows.copy() for rows in expected]
    computed[1][2, 4] += factor * TOLERANCE * spread
    if refused:
        with pytest.raises(ModelLoadError, match="differ from the network's"):
            judge(expected, computed)
    else:
        assert judge(expected, computed).share == pytest.approx(factor * TOLERANCE, rel=1e-2)


def test_large_biases_hide_no_difference() -> None:
    """Relative to the logits 0.01 would be nothing; it is half of what the image does."""
    offset = np.float32(1000)
    expected = [offset + np.float32(0.01) * rows for rows in _logits()]
    computed = [offset + np.float32(0.01) * rows for rows in _logits(1)]
    with pytest.raises(ModelLoadError, match="differ"):
        judge(expected, computed)


def test_the_same_answer_for_all_images_proves_nothing() -> None:
    same = [np.ones((count, 5), np.float32) for count in (1, 3)]
    with pytest.raises(ModelLoadError, match="same logits"):
        judge(same, same)


def test_nan_is_refused_wherever_it_is() -> None:
    broken = _logits()
    broken[0][0, 0] = np.nan
    for expected, computed in ((_logits(), broken), (broken, _logits()), (broken, broken)):
        with pytest.raises(ModelLoadError):
            judge(expected, computed)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ModelLoadError, match="shapes"):
        judge(_logits(), [rows[:, :4] for rows in _logits()])
