from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from beyond_serve.demo.render import LONGEST_SIDE, SHORTEST_SIDE, draw, encode, random_scene, render
from beyond_serve.preprocess.header import read_header

BAR = np.zeros((8, 8), np.float32)
BAR[:, 3:5] = 1


def test_an_image_is_a_function_of_its_seed() -> None:
    first, again, other = (render(BAR, np.random.default_rng((0, 1, seed))) for seed in (4, 4, 5))
    assert first == again
    assert first != other


def test_sizes_stay_in_their_range_and_vary() -> None:
    scenes = [random_scene(np.random.default_rng(seed)) for seed in range(200)]
    sides = [side for scene in scenes for side in (scene.width, scene.height)]
    assert min(sides) >= SHORTEST_SIDE
    assert max(sides) <= LONGEST_SIDE
    assert min(sides) < 2 * SHORTEST_SIDE
    assert max(sides) > LONGEST_SIDE / 2
    assert any(s.width > s.height for s in scenes)
    assert any(s.width < s.height for s in scenes)


def test_ink_and_paper_can_be_told_apart() -> None:
    luma = np.array([0.299, 0.587, 0.114])
    for seed in range(100):
        scene = random_scene(np.random.default_rng(seed))
        assert abs(luma @ (scene.ink - scene.paper)) >= 69


def test_the_digit_lies_in_the_middle_in_its_ink() -> None:
    rng = np.random.default_rng(0)
    plain = {"noise": 0.0, "lighting": (0.0, 0.0), "shift": (0.0, 0.0), "angle": 0.0, "shear": 0.0}
    scene = replace(random_scene(rng, (120, 80)), **plain)
    image = draw(BAR, scene, rng)
    assert image.shape == (80, 120, 3)
    assert image[40, 60] == pytest.approx(scene.ink, abs=1)
    assert image[40, 5] == pytest.approx(scene.paper, abs=1)


def test_a_positive_angle_turns_anticlockwise() -> None:
    rng = np.random.default_rng(0)
    black, white = np.zeros(3, np.float32), np.full(3, 255, np.float32)
    plain = {"noise": 0.0, "lighting": (0.0, 0.0), "shift": (0.0, 0.0), "shear": 0.0, "angle": 30.0}
    scene = replace(random_scene(rng, (100, 100)), **plain, ink=white, paper=black)
    top = draw(BAR, scene, rng)[25, :, 0].astype(float)
    assert (top @ np.arange(100)) / top.sum() < 45


def test_encoded_size_is_the_scenes() -> None:
    header = read_header(encode(np.zeros((30, 50, 3), np.uint8), quality=80))
    assert (header.format, header.width, header.height) == ("jpeg", 50, 30)
