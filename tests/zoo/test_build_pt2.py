"""From an architecture to a .pt2 file with what the server reads beside it. Needs the extra, else skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beyond_serve.engines.torch.describe import read_pt2
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.server.models_command import main
from beyond_serve.zoo import plans
from beyond_serve.zoo.build_pt2 import ArchRequest, build_arch
from beyond_serve.zoo.hub import Unavailable
from beyond_serve.zoo.load import Say
from tests.zoo.extra import TINY_RESNET, TINY_VIT, needs_transformers


def _build(architecture: Any, output: Path, say: Say = lambda _: None, **changes: Any) -> Any:
    values = {"weights": "random", "image_size": 32, "compiled": False, "max_batch": 4, **changes}
    request = ArchRequest(architecture, output, **values)
    return build_arch(request, say, lambda name: Unavailable("no hub", "ask again"))


@needs_transformers
@pytest.mark.parametrize("architecture", [TINY_RESNET, TINY_VIT], ids=lambda entry: str(entry.name))
def test_three_files_are_written(architecture: Any, tmp_path: Path) -> None:
    steps: list[str] = []
    output = tmp_path / "new" / "m.pt2"
    card = _build(architecture, output, weights="auto", seed=7, precision="bf16", say=steps.append)
    assert "no pretrained weights: no hub" in steps
    assert {path.name for path in output.parent.iterdir()} == {"m.pt2", "m.toml", "m.model.json"}
    told = json.loads((output.parent / "m.model.json").read_text())
    assert "RANDOM" in told["warning"]
    assert (told["precision"], told["max_batch"], told["device"]) == ("bf16", 4, "cpu")
    assert told["relative_error"] == card.relative_error < 0.05
    assert load_plan(output, (32, 32))[0] == plans.at_size(architecture.plan, 32)
    assert load_labels(output) is None
    assert read_pt2(output).graph.inputs[0].shape == (-1, 32, 32, 3)


@needs_transformers
def test_multiply_accumulates_are_those_of_the_onnx_export(tmp_path: Path) -> None:
    card = _build(TINY_VIT, tmp_path / "m.pt2")
    assert card.macs == 4 * 16 * 768 + 2 * (5 * 16 * (4 * 16 + 2 * 32) + 2 * 5 * 5 * 16) + 16 * 5


@needs_transformers
def test_attention_is_one_operator(tmp_path: Path) -> None:
    _build(TINY_VIT, tmp_path / "m.pt2")
    assert b"scaled_dot_product_attention" in (tmp_path / "m.pt2").read_bytes()


@needs_transformers
def test_files_that_exist_are_kept(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text("labels = []\n")
    with pytest.raises(ConfigError, match=r"m\.toml exists already"):
        _build(TINY_VIT, tmp_path / "m.pt2")
    _build(TINY_VIT, tmp_path / "m.pt2", overwrite=True)
    assert (tmp_path / "m.pt2").exists()


def test_random_weights_take_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes no --checkpoint"):
        _build(None, tmp_path / "m.pt2", checkpoint=tmp_path)


def test_nothing_named_is_nothing_built(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither an architecture nor a --checkpoint"):
        _build(None, tmp_path / "m.pt2")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["vit-tiny", "-o", "m.pt2", "--flavour", "rtx"], "--flavour is for TensorRT's plans"),
        (["vit-tiny", "-o", "m.pt2", "--opt-batch", "8"], "--opt-batch is for TensorRT's plans"),
        (["net.onnx", "-o", "m.pt2"], "built from a PyTorch network, not from ONNX"),
        (["-o", "m.pt2"], "neither an architecture nor a --checkpoint"),
        (["vit-tiny", "-o", "m.pt2", "--max-batch", "0"], "--max-batch 0"),
        (["-o", "m.plan"], "no ONNX model is named"),
        (["net.onnx", "-o", "m.plan", "--device", "cpu"], "--device is for .pt2 files"),
        (["net.onnx", "-o", "m.plan", "--no-compile"], "--no-compile is for .pt2 files"),
    ],
)
def test_arguments_that_do_not_go_together(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *arguments]) == 1
    assert complaint in capsys.readouterr().err
