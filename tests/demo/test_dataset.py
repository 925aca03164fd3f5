from __future__ import annotations

import sys

import numpy as np
import pytest

from beyond_serve.demo.dataset import jpeg, load_digits, preprocess, preprocessed_views, split
from beyond_serve.demo.location import DEMO_MODEL
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.presets import load_plan
from tests.demo.digits import bars

PLAN, _ = load_plan(DEMO_MODEL, (32, 32))


def test_split_holds_out_a_fifth_of_each_class_and_shares_nothing() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 20))
    training, held_out = split(labels, seed=0)
    assert sorted([*training, *held_out]) == list(range(200))
    assert np.bincount(labels[held_out]).tolist() == [4] * 10


def test_split_depends_on_the_seed_alone() -> None:
    labels = np.repeat(np.arange(10), 20)
    assert split(labels, 0)[1].tolist() == split(labels, 0)[1].tolist()
    assert split(labels, 0)[1].tolist() != split(labels, 1)[1].tolist()


def test_views_keep_their_order_and_labels() -> None:
    digits, done = bars(1), []
    pixels, labels = preprocessed_views(digits, [3, 8], 2, 0, PLAN, lambda: done.append(1))
    assert pixels.shape == (4, 32, 32, 3)
    assert labels.tolist() == [3, 3, 8, 8]
    assert len(done) == 4
    np.testing.assert_array_equal(pixels[3], preprocess(jpeg(digits, 8, 1, 0), PLAN))


def test_views_of_a_digit_differ() -> None:
    digits = bars(1)
    assert jpeg(digits, 3, 0, 0) != jpeg(digits, 3, 1, 0)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError) as caught:
        load_digits()
    assert "scikit-learn" in caught.value.message
    assert "beyond-serve[demo]" in (caught.value.hint or "")
