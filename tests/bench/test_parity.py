"""The arithmetic of `beyond-bench parity`, and each of its ways on small images."""

from __future__ import annotations

import numpy as np
import pytest
from rich.progress import Progress

from beyond_serve.bench import top1
from beyond_serve.bench.parity import Difference, Sample, difference, reference, verdicts, ways
from beyond_serve.preprocess.plan import PreprocessPlan
from tests.preprocess.images import jpeg

PLAN = PreprocessPlan(size=(64, 64), crop=(56, 56))
EXACT, FAST = ("core", "exact"), ("core", "fast")
NOISE = Sample("noise", b"", PLAN, photographic=False)
PHOTO = Sample("photo", b"", PLAN, photographic=True)


def test_difference() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0, 0] = 12
    found = difference(pixels, np.zeros_like(pixels))
    assert (found.most, found.mean) == (12, 1.0)
    assert found.decibels == pytest.approx(10 * np.log10(255**2 / 12))
    assert difference(pixels, pixels) == Difference(0, 0.0, float("inf"))


def test_difference_of_darker_pixels_does_not_wrap() -> None:
    assert difference(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)).most == 255


def test_verdicts_met_and_not_met() -> None:
    def met(most: int, decibels: float, share: float) -> list[bool]:
        apart = [(PHOTO, Difference(most, 0.0, decibels))]
        return [one.met for one in verdicts({EXACT: apart, FAST: apart}, {EXACT: share, FAST: share})]

    assert met(2, 38.0, 0.99) == [True] * 4
    assert met(3, 37.9, 0.989) == [False] * 4


def test_fast_is_judged_by_its_worst_photograph_alone() -> None:
    apart = [
        (NOISE, Difference(99, 9.0, 20.0)),
        (PHOTO, Difference(9, 1.0, 41.0)),
        (PHOTO, Difference(5, 1.0, 44.0)),
    ]
    found = verdicts({FAST: apart}, {FAST: 1.0})
    assert (found[0].measured, found[0].met) == ("41.0 dB (photo)", True)


def test_exact_is_judged_on_noise_too() -> None:
    apart = [(PHOTO, Difference(0, 0.0, 60.0)), (NOISE, Difference(9, 1.0, 41.0))]
    assert not verdicts({EXACT: apart}, {EXACT: 1.0})[0].met


def test_every_way_makes_the_same_picture() -> None:
    data = jpeg(300, 200, noise=0)
    wanted = reference(data, PLAN)
    assert wanted.shape == PLAN.output_shape
    for way in ways():
        apart = difference(way.pixels(data, PLAN), wanted)
        assert apart.decibels > 30, way
        assert way.fidelity == "fast" or apart.most <= 2, way


def test_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top1, "split", lambda labels, seed: (np.arange(0), np.arange(5)))

    def black(data: bytes, plan: PreprocessPlan) -> np.ndarray:
        return np.zeros(plan.output_shape, np.uint8)

    shares, count = top1.agreement(reference, {EXACT: reference, FAST: black}, 2, Progress(disable=True))
    assert count == 10
    assert shares[EXACT] == 1.0
    # Digits 0 to 4 differ, so whatever the model calls blackness is right for some of them at most.
    assert shares[FAST] < 1.0
