"""A network that is ready to be exported, and what the export must say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from beyond_serve.engines.foreign import one_line
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import PreprocessPlan

Weights = Literal["random", "pretrained", "checkpoint"]


@dataclass(frozen=True, slots=True)
class Network:
    """A torch module in evaluation mode with its surroundings.

    Attributes:
        module: torch.nn.Module from float32 [N, 3, H, W] to logits, float32 [N, classes].
        plan: how images are prepared for it; its output size is the module's input.
        labels: names of the classes, None if they mean nothing.
        weights: where they come from; `checkpoint` is a folder that the user named.
        origin: repository and revision, or folder; "seed N" for random weights.
    """

    module: Any
    plan: PreprocessPlan
    labels: tuple[str, ...] | None
    weights: Weights
    origin: str

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())


def wrong_image_size(name: str, image_size: int, error: Exception) -> ConfigError:
    """What to tell when a library refuses to build `name` for images of this size."""
    return ConfigError(
        f"{name} cannot take images of {image_size}x{image_size}: {one_line(error)}",
        "leave --image-size out, or give a multiple of its patches; of 32 for most",
    )
