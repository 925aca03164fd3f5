"""Image classifiers of Hugging Face transformers: random from a configuration, or from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beyond_serve.engines.foreign import one_line
from beyond_serve.errors import ConfigError, ModelLoadError
from beyond_serve.preprocess.beside import read_json
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.preset_huggingface import plan_of_processor
from beyond_serve.zoo import torch_extra
from beyond_serve.zoo.catalogue import Architecture
from beyond_serve.zoo.network import Network, Weights, wrong_image_size
from beyond_serve.zoo.plans import at_size
from beyond_serve.zoo.random_weights import seeded, settle

# Attention in plain operations: fused attention hides from the exporter which layout its result has.
_ATTENTION = "eager"


def random_network(architecture: Architecture, seed: int, image_size: int) -> Network:
    """`architecture`, which has a plan, with the weights that `seed` gives.

    Raises:
        ConfigError: the image size does not suit it.
        ModelLoadError: transformers is missing.
    """
    transformers = torch_extra.load("transformers")
    if architecture.plan is None:
        raise ConfigError(
            f"random weights need a known architecture; '{architecture.hub}' is known to the hub only",
            "take one of `beyond-models export --list`, or timm:MODEL",
        )
    try:
        with seeded(seed):
            config = transformers.AutoConfig.for_model(
                architecture.model, **{"num_labels": 1000, **architecture.settings, "image_size": image_size}
            )
            _check_patches(vars(config), image_size)
            model = _auto(transformers).from_config(config, attn_implementation=_ATTENTION)
            module = _logits_of(model)
            settle(module, image_size, seed)
    except (ValueError, RuntimeError) as error:
        raise wrong_image_size(architecture.name, image_size, error) from error
    return Network(module, at_size(architecture.plan, image_size), None, "random", f"seed {seed}")


def network_of_folder(
    folder: Path, weights: Weights, origin: str, image_size: int | None, fallback: Architecture | None = None
) -> Network:
    """The classifier in `folder`, as save_pretrained or the hub lay it out. Loads no code, only weights.

    image_size: None for the one it was made for. fallback: whose preprocessing holds if the folder has none.

    Raises:
        ModelLoadError: config or weights are missing, damaged or incomplete, or no classifier's.
        ConfigError: no preprocessing is known, or the image size does not suit the weights.
    """
    config = read_json(folder / "config.json")
    plan = _plan_of(folder, fallback)
    size = image_size or plan.output_shape[0]
    try:
        _check_patches(config, size)
    except ValueError as error:
        raise wrong_image_size(str(folder), size, error) from error
    model = _load(folder, config, size)
    return Network(_logits_of(model), at_size(plan, size), _labels_of(folder), weights, origin)


def _plan_of(folder: Path, fallback: Architecture | None) -> Any:
    processor = folder / "preprocessor_config.json"
    if processor.is_file():
        return plan_of_processor(read_json(processor), str(processor))
    if fallback is not None and fallback.plan is not None:
        return fallback.plan
    raise ConfigError(
        f"{processor} does not exist, so how images are prepared is not known",
        "save the image processor there too, or name the architecture beside --checkpoint",
    )


def _labels_of(folder: Path) -> tuple[str, ...] | None:
    labels = load_labels(folder / "model.onnx")
    if labels is None or all(label == f"LABEL_{number}" for number, label in enumerate(labels)):
        return None  # transformers' placeholders name nothing
    return labels


def _load(folder: Path, config: dict[str, Any], image_size: int) -> Any:
    transformers = torch_extra.load("transformers")
    transformers.utils.logging.disable_progress_bar()
    changed = {"image_size": image_size} if "image_size" in config else {}
    try:
        model, report = _auto(transformers).from_pretrained(
            folder,
            local_files_only=True,
            attn_implementation=_ATTENTION,
            dtype=torch_extra.load("torch").float32,
            output_loading_info=True,
            **changed,
        )
    except Exception as error:  # each format of weights has its own kinds of error
        raise ModelLoadError(
            f"{folder}: the checkpoint cannot be loaded: {one_line(error)}",
            "download or save it again; it must be an image classifier, at the image size of its weights",
        ) from error
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise ModelLoadError(
            f"{folder}: the checkpoint lacks {len(lacking)} tensors of the classifier, such as {lacking[0]}",
            "it may be a backbone without its head; export one that was trained to classify",
        )
    return model


def _check_patches(config: dict[str, Any], image_size: int) -> None:
    """Raises ValueError where a rest of the image would fall off the last patch, in silence."""
    patch = config.get("patch_size")
    if isinstance(patch, int) and image_size % patch:
        raise ValueError(f"its patches are of {patch}x{patch}")


def _auto(transformers: Any) -> Any:
    return transformers.AutoModelForImageClassification


def _logits_of(model: Any) -> Any:
    """`model` as a module from pixels to logits alone, in evaluation mode."""
    torch = torch_extra.load("torch")

    def forward(module: Any, pixel_values: Any) -> Any:
        return module.model(pixel_values=pixel_values).logits

    # Made here because torch is imported only here.
    module = type("Logits", (torch.nn.Module,), {"forward": forward})()
    module.model = model
    return module.eval()
