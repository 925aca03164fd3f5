"""From a torch network to files that are served. Needs the extra; where it is missing these are skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from beyond_serve.engines.describe import describe_model
from beyond_serve.errors import ConfigError, ModelLoadError
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.zoo import plans
from beyond_serve.zoo.catalogue import ARCHITECTURES, Architecture
from beyond_serve.zoo.cost import count
from beyond_serve.zoo.export import ExportRequest, export
from beyond_serve.zoo.hub import Fetched, Unavailable
from tests.zoo.extra import TINY_RESNET, TINY_VIT, needs_timm, needs_transformers

_NAMES = {0: "zero", 1: "one", 2: "two", 3: "three", 4: "four"}


def _nobody(repository: str) -> Unavailable:
    return Unavailable(f"no hub for {repository}", "ask again")


def _said(steps: list[str]) -> Callable[[str], None]:
    return steps.append


def _run(model: Path, pixels: Any) -> Any:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(
        ["logits"], {"pixel_values": pixels}
    )[0]


@pytest.fixture
def vit_folder(tmp_path: Path) -> Path:
    """A small ViT as save_pretrained writes it, with named classes and its preprocessing."""
    import transformers

    folder = tmp_path / "my-vit"
    config = transformers.ViTConfig(**{**TINY_VIT.settings, "image_size": 32, "id2label": _NAMES})
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 32, "width": 32},
        "resample": 3,
    }
    normalization = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor | normalization))
    return folder


@needs_transformers
@pytest.mark.parametrize("architecture", [TINY_RESNET, TINY_VIT], ids=lambda entry: str(entry.name))
def test_random_weights_are_exported_and_said(architecture: Architecture, tmp_path: Path) -> None:
    steps: list[str] = []
    request = ExportRequest(architecture, tmp_path / "new" / "m.onnx", seed=7, image_size=32)
    card = export(request, _said(steps), _nobody)
    assert f"no pretrained weights: no hub for {architecture.hub}" in steps
    assert (card.weights, card.origin, card.image_size, card.classes) == ("random", "seed 7", 32, 5)
    proto = onnx.load(request.output)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    assert "RANDOM" in properties["beyond_serve.warning"]
    assert properties["beyond_serve.origin"] == "seed 7"
    assert (
        json.loads((tmp_path / "new" / "m.model.json").read_text())["macs"] == card.macs == count(proto).macs
    )
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"m.onnx", "m.toml", "m.model.json"}


@needs_transformers
def test_the_server_reads_what_was_written(tmp_path: Path) -> None:
    request = ExportRequest(TINY_RESNET, tmp_path / "m.onnx", "random", image_size=48)
    export(request, _said([]))
    description = describe_model(str(request.output))
    assert description.batch is None
    assert description.image_size == (48, 48)
    assert description.scores == "logits"
    assert not description.scores_are_probabilities
    plan, source = load_plan(request.output, (48, 48))
    assert plan == plans.at_size(plans.CONVNEXT, 48)
    assert source.endswith("m.toml")
    assert load_labels(request.output) is None


@needs_transformers
def test_a_seed_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.onnx", "b.onnx", "c.onnx")]
    for path, seed in zip(files, (1, 1, 2), strict=True):
        export(ExportRequest(TINY_RESNET, path, "random", seed=seed, image_size=32), _said([]))
    first, second, other = (path.read_bytes() for path in files)
    assert first == second
    assert first != other


@needs_transformers
def test_nothing_of_the_machine_is_in_the_file(tmp_path: Path) -> None:
    export(ExportRequest(TINY_VIT, tmp_path / "m.onnx", "random", image_size=32), _said([]))
    content = (tmp_path / "m.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(tmp_path).encode() not in content


@needs_transformers
def test_random_networks_tell_images_apart(tmp_path: Path) -> None:
    """Without settled batch norms a deep one gives all of them nearly the same logits."""
    deep = replace(TINY_RESNET, settings={**TINY_RESNET.settings, "depths": [6, 6]})
    export(ExportRequest(deep, tmp_path / "m.onnx", "random", image_size=32), _said([]))
    pixels = np.random.default_rng(0).standard_normal((8, 3, 1, 1), dtype=np.float32)
    logits = _run(tmp_path / "m.onnx", np.broadcast_to(pixels, (8, 3, 32, 32)).copy())
    assert np.ptp(logits, axis=0).max() > 0.1 * np.abs(logits).max()


@needs_transformers
@pytest.mark.parametrize("opset", [18, 20, 23])
def test_opsets(opset: int, tmp_path: Path) -> None:
    request = ExportRequest(TINY_VIT, tmp_path / "m.onnx", "random", image_size=32, opset=opset)
    macs = export(request, _said([])).macs
    proto = onnx.load(request.output)
    assert [entry.version for entry in proto.opset_import if entry.domain == ""] == [opset]
    assert macs == 4 * 16 * 768 + 2 * (5 * 16 * (4 * 16 + 2 * 32) + 2 * 5 * 5 * 16) + 16 * 5


@needs_transformers
def test_a_checkpoint_keeps_its_weights_labels_and_preprocessing(vit_folder: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    output = tmp_path / "out.onnx"
    card = export(ExportRequest(None, output, checkpoint=vit_folder), _said([]))
    assert (card.architecture, card.weights, card.warning) == ("my-vit", "checkpoint", None)
    assert load_labels(output) == tuple(_NAMES.values())
    plan, _ = load_plan(output, (32, 32))
    assert plan.normalization.std == (0.25, 0.25, 0.25)
    pixels = np.random.default_rng(0).standard_normal((4, 3, 32, 32), dtype=np.float32)
    model = transformers.AutoModelForImageClassification.from_pretrained(vit_folder).eval()
    with torch.no_grad():
        expected = model(pixel_values=torch.from_numpy(pixels)).logits.numpy()
    np.testing.assert_allclose(_run(output, pixels), expected, atol=1e-5)


@needs_transformers
def test_what_the_hub_gives_is_pretrained(vit_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    found = Fetched(vit_folder, "0123456789abcdef")
    card = export(ExportRequest(TINY_VIT, output, "pretrained"), _said([]), lambda _: found)
    assert (card.weights, card.origin) == ("pretrained", "nobody/tiny-vit at 0123456789ab")
    assert load_labels(output) == tuple(_NAMES.values())


@needs_transformers
def test_pretrained_without_a_hub_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no hub for nobody/tiny-vit"):
        export(ExportRequest(TINY_VIT, tmp_path / "m.onnx", "pretrained"), _said([]), _nobody)
    assert list(tmp_path.iterdir()) == []


@needs_transformers
@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{}"), "neither a model_type"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "how images are prepared"),
    ],
    ids=["damaged weights", "no weights", "damaged config", "empty config", "no config", "no preprocessing"],
)
def test_damaged_checkpoints_are_one_line(
    damage: Callable[[Path], object], complaint: str, vit_folder: Path, tmp_path: Path
) -> None:
    damage(vit_folder)
    with pytest.raises((ConfigError, ModelLoadError), match=complaint) as caught:
        export(ExportRequest(None, tmp_path / "m.onnx", checkpoint=vit_folder), _said([]))
    assert "\n" not in caught.value.message
    assert not (tmp_path / "m.onnx").exists()


@needs_transformers
def test_a_backbone_without_its_head_is_refused(vit_folder: Path, tmp_path: Path) -> None:
    """transformers itself would fill in a random head and go on."""
    import transformers

    config = transformers.ViTConfig(**{**TINY_VIT.settings, "image_size": 32})
    transformers.ViTModel(config).save_pretrained(vit_folder)
    with pytest.raises(ModelLoadError, match=r"lacks 2 tensors of the classifier, such as classifier\.bias"):
        export(ExportRequest(None, tmp_path / "m.onnx", checkpoint=vit_folder), _said([]))


@needs_transformers
def test_another_architecture_than_named_is_refused(vit_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a transformers vit, not tiny-resnet"):
        export(ExportRequest(TINY_RESNET, tmp_path / "m.onnx", checkpoint=vit_folder), _said([]))


@needs_transformers
def test_the_named_architecture_lends_its_preprocessing(vit_folder: Path, tmp_path: Path) -> None:
    (vit_folder / "preprocessor_config.json").unlink()
    request = ExportRequest(TINY_VIT, tmp_path / "m.onnx", checkpoint=vit_folder, image_size=32)
    export(request, _said([]))
    plan, _ = load_plan(request.output, (32, 32))
    assert plan == plans.at_size(plans.VIT, 32)


@needs_transformers
@pytest.mark.parametrize("size", [8, 40])
def test_image_sizes_that_do_not_suit_are_one_line(size: int, vit_folder: Path, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, ModelLoadError)) as random:
        export(ExportRequest(TINY_VIT, tmp_path / "m.onnx", "random", image_size=size), _said([]))
    assert "\n" not in random.value.message
    with pytest.raises((ConfigError, ModelLoadError)) as trained:
        export(ExportRequest(None, tmp_path / "m.onnx", checkpoint=vit_folder, image_size=size), _said([]))
    assert "\n" not in trained.value.message


@needs_timm
def test_timm_random_and_from_a_folder(tmp_path: Path) -> None:
    import timm

    architecture = Architecture("test-vit", "timm", "timm/test_vit.r160_in1k", "test_vit.r160_in1k")
    card = export(ExportRequest(architecture, tmp_path / "a.onnx", "random", image_size=32), _said([]))
    assert (card.library, card.classes, card.image_size) == ("timm", 1000, 32)
    folder = tmp_path / "saved"
    timm.models.save_for_hf(timm.create_model("test_resnet", num_classes=3), folder)
    card = export(ExportRequest(None, tmp_path / "b.onnx", checkpoint=folder), _said([]))
    assert (card.architecture, card.weights, card.classes) == ("saved", "checkpoint", 3)
    assert load_labels(tmp_path / "b.onnx") is None
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        export(ExportRequest(None, tmp_path / "c.onnx", checkpoint=folder), _said([]))


@needs_timm
def test_an_unknown_timm_model_is_told_with_near_ones(tmp_path: Path) -> None:
    architecture = Architecture("x", "timm", "timm/resnet180", "resnet180")
    with pytest.raises(ConfigError, match="has no model 'resnet180'") as caught:
        export(ExportRequest(architecture, tmp_path / "m.onnx", "random"), _said([]))
    assert caught.value.hint is not None
    assert "resnet18" in caught.value.hint


@pytest.mark.long
@needs_timm
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_costs_what_the_list_says(name: str, tmp_path: Path) -> None:
    entry = ARCHITECTURES[name]
    card = export(ExportRequest(entry, tmp_path / "m.onnx", "random"), _said([]))
    (tmp_path / "m.onnx").unlink()
    assert card.macs / 1e9 == pytest.approx(entry.gmacs, abs=5e-4)
    assert card.parameters / 1e6 == pytest.approx(entry.millions, abs=5e-4)
    assert card.image_size == entry.image_size
