"""By what factor did it change, and how sure is that: a bootstrap over repetitions. Pure arithmetic.

Of few observations the percentile interval is too narrow (Hesterberg, "What Teachers Should Know About the
Bootstrap", 2015, section 5.3), since resampling underestimates the variance by (n - 1) / n and knows no
Student's t. Both are made up for here by stretching the interval about the estimate; taking the quantiles
further out, as is done there, ends at the few values that resamples of three or five can take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
_GRID = 20_001


@dataclass(frozen=True, slots=True)
class Ratio:
    """B divided by A.

    Attributes:
        value: of the means over repetitions.
        low, high: the confidence interval's borders; None with fewer than two repetitions of either.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 1: a difference is shown."""
        return self.low is not None and self.high is not None and not self.low <= 1.0 <= self.high


def ratio(a: Sequence[float], b: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Ratio:
    """The ratio of the mean of `b` to that of `a`, positive repetitions of one measurement each.

    Exchanging a and b gives the inverse, interval and all.
    """
    return geometric_mean_ratio([(a, b)], seed=seed, resamples=resamples)


def geometric_mean_ratio(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], *, seed: int = 0, resamples: int = RESAMPLES
) -> Ratio:
    """The geometric mean of the ratios of several pairs of measurements, each with its repetitions.

    Raises:
        ValueError: no pair, an empty measurement, or a repetition that is not positive and finite.
    """
    if not pairs or any(not math.isfinite(v) or v <= 0 for pair in pairs for side in pair for v in side):
        raise ValueError("ratios are of positive, finite measurements")
    if any(len(side) == 0 for pair in pairs for side in pair):
        raise ValueError("a measurement has no repetition")
    sides = [(np.log(np.mean(a)), np.log(np.mean(b))) for a, b in pairs]
    centre = float(np.mean([b - a for a, b in sides]))
    if any(len(side) < 2 for pair in pairs for side in pair):
        return Ratio(math.exp(centre))
    spread = np.mean(
        [_resampled(a, b, seed + index, resamples) for index, (a, b) in enumerate(pairs)], axis=0
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = centre + _stretch(pairs) * (np.quantile(spread, (tail, 1 - tail)) - centre)
    return Ratio(math.exp(centre), math.exp(float(low)), math.exp(float(high)))


def _resampled(a: Sequence[float], b: Sequence[float], seed: int, resamples: int) -> NDArray[np.float64]:
    """Log ratios of resampled means. Both assignments of the two random streams are used, which makes the
    exchange of a and b an exact change of sign."""
    first, second = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    draws = max(len(a), len(b))
    one, other = (random.random((resamples // 2, draws)) for random in (first, second))
    return np.concatenate(
        [_log_means(b, other) - _log_means(a, one), _log_means(b, one) - _log_means(a, other)]
    )


def _log_means(values: Sequence[float], uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    count = len(values)
    picked = np.asarray(values, dtype=np.float64)[(uniform[:, :count] * count).astype(np.intp)]
    means: NDArray[np.float64] = np.log(picked.mean(axis=1))
    return means


def _stretch(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """What the percentile interval is too narrow by, at the fewest repetitions there are."""
    fewest = min(len(side) for pair in pairs for side in pair)
    # Each mean has its own n - 1 degrees of freedom; pooled they add, as in a two-sample t-test.
    freedom = sum(len(side) - 1 for pair in pairs for side in pair)
    probability = 1 - (1 - CONFIDENCE) / 2
    t_over_z = student_quantile(probability, freedom) / NormalDist().inv_cdf(probability)
    return t_over_z * math.sqrt(fewest / (fewest - 1))


def student_quantile(probability: float, freedom: int) -> float:
    """Student's t below which `probability` lies.

    With t = sqrt(freedom) tan(angle) its density becomes cos(angle)^(freedom - 1), a smooth function on a
    finite range, summed here by the trapezoidal rule.
    """
    angles = np.linspace(-math.pi / 2, math.pi / 2, _GRID)
    density = np.cos(angles).clip(0.0) ** (freedom - 1)
    summed = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp(probability, summed / summed[-1], angles))
    return math.sqrt(freedom) * math.tan(angle)
