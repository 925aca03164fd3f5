"""The networks that figures are asked of, with seeded random weights."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from beyond_serve.bench.gpu_check.site import NotHere

ASKED = "ViT-Base/16"
IMAGE_SIZE = 224
SEED = 11
PRECISIONS = ("bf16", "fp16")
LIMITS = {"bf16": 1e-2, "fp16": 2e-3}
"""Relative errors that are asked for, as `reference.row_errors` measures them."""


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """One network; timm's and torchvision's names for it."""

    name: str
    timm: str
    torchvision: str


NETWORKS = (
    NetworkSource(ASKED, "vit_base_patch16_224", "vit_b_16"),
    NetworkSource("ResNet-50", "resnet50", "resnet50"),
    NetworkSource("MobileNetV2", "mobilenetv2_100", "mobilenet_v2"),
)
SMALLEST = NETWORKS[-1]


def make_module(source: NetworkSource) -> tuple[Any, str]:
    """The network in evaluation mode on the CPU, float32 [n, 3, 224, 224] to [n, 1000], and whose it is.

    Its weights are numbers that bf16 holds exactly, as in a checkpoint that was trained in it: the errors
    that are measured are of arithmetic, and not of what rounding does to arbitrary weights.

    Raises:
        NotHere: neither timm nor torchvision can be imported.
    """
    from beyond_serve.zoo.random_weights import seeded, settle

    torch = importlib.import_module("torch")
    with seeded(SEED):
        module, library = _made(source)
        _randomise_head(torch, module)
        _quieten_residuals(torch, module)
        settle(module.eval(), IMAGE_SIZE, SEED)
    return module.eval().to(torch.bfloat16).to(torch.float32), library


def _made(source: NetworkSource) -> tuple[Any, str]:
    try:
        timm = importlib.import_module("timm")
    except ImportError as missing:
        why = str(missing)
    else:
        return timm.create_model(source.timm, pretrained=False), f"timm {timm.__version__}"
    try:
        models = importlib.import_module("torchvision.models")
    except ImportError as missing:
        raise NotHere(f"neither timm nor torchvision: {why}; {missing}") from missing
    version = importlib.import_module("torchvision").__version__
    return getattr(models, source.torchvision)(weights=None), f"torchvision {version}"


def _randomise_head(torch: Any, module: Any) -> None:
    """torchvision's ViT has zeros there until it is trained, which would make any two outputs equal."""
    head = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
    torch.nn.init.normal_(head.weight, std=head.in_features**-0.5)
    torch.nn.init.normal_(head.bias, std=0.1)


_QUIET = 0.2


def _quieten_residuals(torch: Any, module: Any) -> None:
    """Scale down what MobileNet's residual blocks add. Untrained ones otherwise multiply rounding errors
    from block to block, which trained ones don't, until bf16 is ten times as far off as in other networks."""
    for block in module.modules():
        if getattr(block, "has_skip", False) and hasattr(block, "bn3"):  # timm's
            torch.nn.init.constant_(block.bn3.weight, _QUIET)
        elif getattr(block, "use_res_connect", False):  # torchvision's
            torch.nn.init.constant_(block.conv[-1].weight, _QUIET)
