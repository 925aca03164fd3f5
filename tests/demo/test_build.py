from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from beyond_serve.demo.build import DemoConfig, Progress, build, image_count, normalised, per_class
from beyond_serve.demo.dataset import load_digits
from beyond_serve.demo.location import DEMO_MODEL
from beyond_serve.demo.train import Epoch, TrainingConfig
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import Normalization
from tests.demo.digits import bars

TINY = DemoConfig(training_views=1, held_out_views=1, training=TrainingConfig(epochs=1, batch=16))


def test_build_writes_the_model_its_sidecar_and_what_it_measured(tmp_path: Path) -> None:
    output, drawn, epochs = tmp_path / "new" / "digits.onnx", [], list[Epoch]()
    progress = Progress(on_image=lambda: drawn.append(1), on_epoch=epochs.append)
    report = build(bars(3), output, TINY, progress)
    assert report.model_bytes == output.stat().st_size < 500_000
    assert report.correct[:, 1].tolist() == [1] * 10
    assert 0 <= report.accuracy <= 1
    assert report.training_images == 20
    assert len(drawn) == image_count(bars(3), TINY) == 30
    assert len(epochs) == 1
    assert output.with_suffix(".toml").read_bytes() == DEMO_MODEL.with_suffix(".toml").read_bytes()
    metadata = {entry.key: entry.value for entry in onnx.load(output).metadata_props}
    assert metadata["held_out_accuracy"] == f"{report.accuracy:.4f}"


def test_build_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"):
        build(bars(2), tmp_path / "file" / "digits.onnx", TINY, Progress())


def test_normalised_is_what_the_graph_computes() -> None:
    pixels = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    how = Normalization(scale=1 / 255, mean=(0.5, 0.2, 0.0), std=(0.25, 0.5, 1.0))
    np.testing.assert_allclose(normalised(pixels, how)[0, 0, 0], [-2.0, 0.0, 1.0], atol=1e-6)


def test_per_class_counts_right_and_all() -> None:
    counted = per_class(np.array([True, False, True]), np.array([2, 2, 9]))
    assert counted[2].tolist() == [1, 2]
    assert counted[9].tolist() == [1, 1]
    assert counted.sum(axis=0).tolist() == [2, 3]


@pytest.mark.long
def test_the_whole_build_is_as_good_as_promised_and_repeats_the_committed_accuracy(tmp_path: Path) -> None:
    report = build(load_digits(), tmp_path / "digits.onnx", DemoConfig(), Progress())
    committed = {entry.key: entry.value for entry in onnx.load(DEMO_MODEL).metadata_props}
    assert report.accuracy >= 0.97
    assert report.accuracy == pytest.approx(float(committed["held_out_accuracy"]), abs=0.01)
