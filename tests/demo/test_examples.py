"""The example images that are committed, read by the demo model that is committed."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from beyond_serve.demo.build import normalised
from beyond_serve.demo.dataset import preprocess
from beyond_serve.demo.examples import MEDIUM_BYTES, MEDIUM_SIZE, NAMES, example_images
from beyond_serve.demo.location import DEMO_MODEL, demo_model
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.presets import load_plan
from tests.demo.digits import bars

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.jpg"))
PLAN, _ = load_plan(DEMO_MODEL, (32, 32))


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(demo_model(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_demo_model_reads_the_example(path: Path, session: onnxruntime.InferenceSession) -> None:
    image = normalised(preprocess(path.read_bytes(), PLAN)[None], PLAN.normalization)
    (logits,) = session.run(None, {"pixel_values": np.ascontiguousarray(image.transpose(0, 3, 1, 2))})
    labels = load_labels(DEMO_MODEL)
    assert labels is not None
    assert labels[int(logits[0].argmax())] == path.stem.removeprefix("medium-")


def test_there_is_an_example_of_every_digit_and_all_are_small() -> None:
    assert {path.stem for path in EXAMPLES} >= set(NAMES)
    assert sum(path.stat().st_size for path in EXAMPLES) < 1_000_000
    assert DEMO_MODEL.stat().st_size < 500_000


def test_medium_examples_are_the_papers_medium_image() -> None:
    medium = [path.read_bytes() for path in EXAMPLES if path.stem.startswith("medium-")]
    assert len(medium) == 2
    for data in medium:
        header = read_header(data)
        assert (header.width, header.height) == MEDIUM_SIZE
        assert len(data) == pytest.approx(MEDIUM_BYTES, rel=0.05)


def test_examples_are_drawn_from_held_out_digits_only() -> None:
    digits = bars(4)
    held_out = np.flatnonzero(np.arange(40) % 2)

    def one_of_each() -> list[tuple[str, bytes]]:
        return list(islice(example_images(digits, held_out, seed=0), len(NAMES)))

    first = one_of_each()
    digits.images[np.arange(40) % 2 == 0] = 0
    assert one_of_each() == first
    digits.images[held_out] = 0
    assert one_of_each() != first


def test_a_demo_model_that_was_never_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("beyond_serve.demo.location.DEMO_MODEL", tmp_path / "digits.onnx")
    with pytest.raises(ModelLoadError) as caught:
        demo_model()
    assert caught.value.hint == "make it: beyond-models demo"
