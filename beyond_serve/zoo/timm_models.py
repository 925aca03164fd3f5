"""timm's image classifiers: random by name, or from a folder as timm's repositories are laid out."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from beyond_serve.engines.foreign import one_line
from beyond_serve.errors import ConfigError, ModelLoadError
from beyond_serve.preprocess.beside import read_json
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.plan import PreprocessPlan
from beyond_serve.preprocess.preset_timm import plan_of_timm
from beyond_serve.zoo import torch_extra
from beyond_serve.zoo.catalogue import Architecture
from beyond_serve.zoo.network import Network, Weights, wrong_image_size
from beyond_serve.zoo.random_weights import seeded, settle


def random_network(architecture: Architecture, seed: int, image_size: int | None) -> Network:
    """`architecture` with the weights that `seed` gives.

    Raises:
        ConfigError: timm knows no such model, or the image size does not suit it.
        ModelLoadError: timm is missing.
    """
    timm = torch_extra.load("timm")
    check_name(timm, architecture.model)
    settings = timm.get_pretrained_cfg(architecture.model).to_dict()
    size = image_size or settings["input_size"][1]
    plan = _plan(settings, architecture.model, size)
    try:
        with seeded(seed):
            module = _create(timm, architecture.model, size, pretrained=False)
            settle(module, size, seed)
    except (AssertionError, ValueError, RuntimeError) as error:
        raise wrong_image_size(architecture.name, size, error) from error
    return Network(module, plan, None, "random", f"seed {seed}")


def network_of_folder(folder: Path, weights: Weights, origin: str, image_size: int | None) -> Network:
    """The classifier in `folder`: config.json with `architecture`, model.safetensors.

    image_size: None for the one it was made for.

    Raises:
        ModelLoadError: config or weights are missing, damaged or of another model.
        ConfigError: the folder says nothing of preprocessing.
    """
    timm = torch_extra.load("timm")
    where = folder / "config.json"
    config = read_json(where)
    check_name(timm, str(config["architecture"]))
    settings = config.get("pretrained_cfg", config)
    size = image_size or int((settings.get("input_size") or (3, 224, 224))[1])
    plan = _plan(config, str(where), size)
    try:
        module = _create(timm, f"local-dir:{folder}", size, pretrained=True)
    except Exception as error:  # each format of weights has its own kinds of error
        raise ModelLoadError(
            f"{folder}: the checkpoint cannot be loaded: {one_line(error)}",
            "download or save it again, at the image size of its weights",
        ) from error
    labels = load_labels(folder / "model.onnx")
    if labels is None and weights == "pretrained":
        labels = _imagenet_labels(module)
    return Network(module, plan, labels, weights, origin)


def check_name(timm: Any, model: str) -> None:
    """Raises ConfigError if timm has no model of this name; a tag after a dot may name weights."""
    if timm.is_model(model):
        return
    near = difflib.get_close_matches(model.partition(".")[0], timm.list_models(), n=3)
    raise ConfigError(
        f"timm {timm.__version__} has no model '{model}'",
        f"did you mean {', '.join(near)}?" if near else "`timm.list_models()` lists them",
    )


def _create(timm: Any, name: str, image_size: int, pretrained: bool) -> Any:
    torch_extra.load("timm.layers").set_fused_attn(False)  # plain operations, as for transformers' models
    try:
        module = timm.create_model(name, pretrained=pretrained, exportable=True, img_size=image_size)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        # Convolutional networks take any size and no such argument.
        module = timm.create_model(name, pretrained=pretrained, exportable=True)
    return module.eval()


def _plan(config: dict[str, Any], where: str, image_size: int) -> PreprocessPlan:
    plan = plan_of_timm(config, where, (image_size, image_size))
    if plan is None:
        raise ConfigError(
            f"{where}: says nothing of preprocessing (input_size)", "add timm's pretrained_cfg to it"
        )
    return plan


def _imagenet_labels(module: Any) -> tuple[str, ...] | None:
    """timm's own names of the 1000 classes; its repositories' config.json leave them out."""
    data = torch_extra.load("timm.data")
    subset = data.infer_imagenet_subset(module)
    return tuple(data.ImageNetInfo(subset).label_descriptions()) if subset else None
