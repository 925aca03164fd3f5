"""What is known of an exported model: in NAME.model.json beside it, and inside the file itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

RANDOM_WARNING = "RANDOM WEIGHTS: its cost is a real model's, its answers mean nothing"

_PREFIX = "beyond_serve."


def card_text(fields: Mapping[str, object], macs: int, warning: str | None) -> str:
    """The text of a NAME.model.json; "gflops" counts a multiply-accumulate as two operations."""
    told = {"warning": warning} if warning else {}
    derived = {"gmacs": macs / 1e9, "gflops": 2 * macs / 1e9}
    return json.dumps({**told, **fields, **derived}, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Of one exported file.

    Attributes:
        architecture: its name in the catalogue, or timm's or the hub's.
        library, library_version: who built the network.
        weights: "random", "pretrained" or "checkpoint".
        origin: "seed N", or the repository and revision, or the folder's name.
        image_size: pixels of the square input.
        classes: number of logits.
        parameters: numbers that are trained, as torch counts them.
        macs: multiply-accumulates an image, counted from the graph; FLOPs are twice that.
        opset: of ONNX.
        largest_difference: of a logit, between ONNX Runtime on the file and torch on the network.
        difference_of_spread: the same, as a share of what a change of image does to a logit.
        torch_version: that exported it.
    """

    architecture: str
    library: str
    library_version: str
    weights: str
    origin: str
    image_size: int
    classes: int
    parameters: int
    macs: int
    opset: int
    largest_difference: float
    difference_of_spread: float
    torch_version: str

    @property
    def warning(self) -> str | None:
        return RANDOM_WARNING if self.weights == "random" else None

    def to_json(self) -> str:
        """For NAME.model.json."""
        return card_text(asdict(self), self.macs, self.warning)

    def properties(self) -> dict[str, str]:
        """For ONNX's metadata_props, which no copy of the file can lose. What is only known once the file
        has been run is not in it."""
        kept = {
            name: str(value)
            for name, value in asdict(self).items()
            if name not in ("largest_difference", "difference_of_spread")
        }
        if self.warning:
            kept["warning"] = self.warning
        return {_PREFIX + name: value for name, value in kept.items()}


def properties_of(proto: Any) -> Mapping[str, str]:
    """What `ModelCard.properties` put into an onnx.ModelProto; empty if another tool made it."""
    return {
        entry.key.removeprefix(_PREFIX): entry.value
        for entry in proto.metadata_props
        if entry.key.startswith(_PREFIX)
    }
