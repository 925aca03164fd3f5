from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from beyond_serve.demo.export import IR_VERSION, OPSET, to_onnx, verify
from beyond_serve.demo.network import DigitNetwork
from beyond_serve.engines.describe import describe_model
from beyond_serve.errors import ModelLoadError


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, DigitNetwork]:
    network = DigitNetwork(seed=1)
    path = tmp_path / "digits.onnx"
    path.write_bytes(to_onnx(network, {"who": "test"}).SerializeToString())
    return path, network


def images(count: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((count, 32, 32, 3), dtype=np.float32)


@pytest.mark.parametrize("count", [1, 5])
def test_the_file_computes_what_the_network_does(exported: tuple[Path, DigitNetwork], count: int) -> None:
    path, network = exported
    assert verify(path, network, images(count)) < 1e-4


def test_a_file_of_other_weights_is_found_out(exported: tuple[Path, DigitNetwork]) -> None:
    path, _ = exported
    with pytest.raises(ModelLoadError, match="differ"):
        verify(path, DigitNetwork(seed=2), images(2))


def test_weights_that_are_not_numbers_are_found_out(exported: tuple[Path, DigitNetwork]) -> None:
    path, network = exported
    network.weights()[-1][0] = np.nan
    with pytest.raises(ModelLoadError, match="differ"):
        verify(path, network, images(2))


def test_the_server_reads_the_file_as_it_is_meant(exported: tuple[Path, DigitNetwork]) -> None:
    description = describe_model(str(exported[0]))
    assert [spec.name for spec in description.inputs] == ["pixel_values"]
    assert [spec.name for spec in description.outputs] == ["logits"]
    assert description.batch is None
    assert description.image_size == (32, 32)
    assert description.layout == "NCHW"
    assert description.scores == "logits"
    assert not description.scores_are_probabilities


def test_versions_and_metadata_are_written(exported: tuple[Path, DigitNetwork]) -> None:
    model = onnx.load(exported[0])
    assert model.ir_version == IR_VERSION
    assert [entry.version for entry in model.opset_import] == [OPSET]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"who": "test"}
