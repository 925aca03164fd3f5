"""The architectures that have a name here: whose they are, how they are configured, what they cost."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import PreprocessPlan
from beyond_serve.zoo import plans

Library = Literal["transformers", "timm"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture.

    Attributes:
        name: as typed; for the output's file name too.
        library: who builds it.
        hub: repository of its pretrained weights.
        model: transformers' model type, or timm's model name; empty if only the hub knows.
        image_size: pixels of the square input.
        gmacs: 1e9 multiply-accumulates an image at `image_size`, as `cost` counts the exported graph.
        millions: 1e6 parameters, as torch counts them.
        settings: of transformers' configuration, where they differ from the model type's defaults.
        plan: preprocessing that its pretrained weights were published with; timm knows its own.
    """

    name: str
    library: Library
    hub: str
    model: str
    image_size: int = 224
    gmacs: float = 0.0
    millions: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    plan: PreprocessPlan | None = None


def _vit(name: str, hub: str, plan: PreprocessPlan, figures: tuple[float, float], width: int) -> Architecture:
    settings = {"hidden_size": width, "num_attention_heads": width // 64, "intermediate_size": 4 * width}
    if width == 1024:
        settings["num_hidden_layers"] = 24
    return Architecture(name, "transformers", hub, "vit", 224, *figures, settings, plan)


def _swin(size: str, figures: tuple[float, float], width: int, depth: int) -> Architecture:
    settings = {
        "embed_dim": width,
        "depths": [2, 2, depth, 2],
        "num_heads": [width // 32 * n for n in (1, 2, 4, 8)],
    }
    hub = f"microsoft/swin-{size}-patch4-window7-224"
    return Architecture(f"swin-{size}", "transformers", hub, "swin", 224, *figures, settings, plans.SWIN)


def _resnet(depth: int, figures: tuple[float, float], blocks: list[int]) -> Architecture:
    settings: dict[str, Any] = {"depths": blocks}
    if depth < 50:
        settings |= {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]}
    hub = f"microsoft/resnet-{depth}"
    return Architecture(
        f"resnet-{depth}", "transformers", hub, "resnet", 224, *figures, settings, plans.CONVNEXT
    )


def _timm(name: str, model: str, figures: tuple[float, float], image_size: int = 224) -> Architecture:
    return Architecture(name, "timm", f"timm/{model}", model, image_size, *figures)


# Google's MobileNets have a class 0, "background".
_BACKGROUND = {"num_labels": 1001}

ARCHITECTURES: Mapping[str, Architecture] = {
    entry.name: entry
    for entry in (
        _vit("vit-tiny", "WinKawaks/vit-tiny-patch16-224", plans.VIT, (1.254, 5.717), 192),
        _vit("vit-small", "WinKawaks/vit-small-patch16-224", plans.VIT, (4.599, 22.051), 384),
        _vit("vit-base", "google/vit-base-patch16-224", plans.VIT, (17.564, 86.568), 768),
        _vit("vit-large", "google/vit-large-patch16-224", plans.VIT, (61.555, 304.327), 1024),
        _vit("deit-tiny", "facebook/deit-tiny-patch16-224", plans.DEIT, (1.254, 5.717), 192),
        _vit("deit-small", "facebook/deit-small-patch16-224", plans.DEIT, (4.599, 22.051), 384),
        _vit("deit-base", "facebook/deit-base-patch16-224", plans.DEIT, (17.564, 86.568), 768),
        _swin("tiny", (4.491, 28.288), 96, 6),
        _swin("small", (8.741, 49.606), 96, 18),
        _swin("base", (15.431, 87.768), 128, 18),
        _resnet(18, (1.814, 11.690), [2, 2, 2, 2]),
        _resnet(34, (3.664, 21.798), [3, 4, 6, 3]),
        _resnet(50, (4.089, 25.557), [3, 4, 6, 3]),
        _resnet(101, (7.801, 44.549), [3, 4, 23, 3]),
        _resnet(152, (11.514, 60.193), [3, 8, 36, 3]),
        Architecture(
            "mobilenet-v1", "transformers", "google/mobilenet_v1_1.0_224", "mobilenet_v1", 224, 0.569, 4.233,
            _BACKGROUND, plans.MOBILENET,
        ),
        Architecture(
            "mobilenet-v2", "transformers", "google/mobilenet_v2_1.0_224", "mobilenet_v2", 224, 0.301, 3.506,
            _BACKGROUND, plans.MOBILENET,
        ),
        Architecture(
            "mobilevit-small", "transformers", "apple/mobilevit-small", "mobilevit", 256, 2.001, 5.579,
            {}, plans.MOBILEVIT,
        ),
        Architecture(
            "convnext-tiny", "transformers", "facebook/convnext-tiny-224", "convnext", 224, 4.456, 28.589,
            {}, plans.CONVNEXT,
        ),
        Architecture(
            "regnet-y-4gf", "transformers", "facebook/regnet-y-040", "regnet", 224, 3.973, 20.647,
            {}, plans.CONVNEXT,
        ),
        Architecture(
            "poolformer-s12", "transformers", "sail/poolformer_s12", "poolformer", 224, 1.812, 11.915,
            {}, plans.POOLFORMER,
        ),
        _timm("mobilenet-v3-small", "mobilenetv3_small_100.lamb_in1k", (0.057, 2.543)),
        _timm("mobilenet-v3-large", "mobilenetv3_large_100.ra_in1k", (0.217, 5.483)),
        _timm("tiny-vit-5m", "tiny_vit_5m_224.dist_in22k_ft_in1k", (1.255, 5.393)),
        _timm("tiny-vit-11m", "tiny_vit_11m_224.dist_in22k_ft_in1k", (2.016, 10.997)),
        _timm("tiny-vit-21m", "tiny_vit_21m_224.dist_in22k_ft_in1k", (4.250, 21.199)),
        _timm("efficientnet-b0", "efficientnet_b0.ra_in1k", (0.386, 5.289)),
        _timm("levit-128s", "levit_128s.fb_dist_in1k", (0.305, 7.777)),
        _timm("densenet-121", "densenet121.ra_in1k", (2.834, 7.979)),
        _timm("vgg-19", "vgg19.tv_in1k", (19.632, 143.667)),
        _timm("inception-v4", "inception_v4.tf_in1k", (12.254, 42.680), 299),
        _timm("resnext-101", "resnext101_32x8d.tv_in1k", (16.414, 88.791)),
    )
}  # fmt: skip


def find(name: str) -> Architecture:
    """The architecture called `name`: one of ARCHITECTURES, `timm:MODEL`, or `hf:OWNER/NAME` on the hub.

    Raises:
        ConfigError: there is none; the hint names those that are spelled nearly so.
    """
    kind, colon, rest = name.partition(":")
    if colon and kind in ("timm", "hf") and rest:
        plain = rest.replace("/", "-")
        return Architecture(plain, "timm", f"timm/{rest}", rest) if kind == "timm" else _on_hub(rest, plain)
    known = ARCHITECTURES.get(name.lower())
    if known is not None:
        return known
    near = difflib.get_close_matches(name.lower().replace("_", "-"), ARCHITECTURES, n=3)
    meant = f"did you mean {', '.join(near)}? " if near else ""
    raise ConfigError(
        f"no architecture is called '{name}'",
        f"{meant}`beyond-models export --list` shows all; timm:MODEL and hf:OWNER/NAME name others",
    )


def _on_hub(repository: str, plain: str) -> Architecture:
    owner, slash, model = repository.partition("/")
    if not (owner and slash and model) or "/" in model:
        raise ConfigError(f"'hf:{repository}' names no repository", "write hf:OWNER/NAME")
    return Architecture(plain, "transformers", repository, "")
