"""What `beyond-models build` writes into a plan that TensorRT itself would not keep. Pure.

It travels as the network's name, which is the only text of the maker's that every flavour keeps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

_PREFIX = "beyond-serve "


@dataclass(frozen=True, slots=True)
class Stamp:
    """
    Attributes:
        precision: "fp32", "fp16", "bf16" or "int8".
        probabilities: the outputs that a softmax or sigmoid makes.
    """

    precision: str
    probabilities: tuple[str, ...]


def stamp_text(stamp: Stamp) -> str:
    return _PREFIX + json.dumps(
        {"precision": stamp.precision, "probabilities": stamp.probabilities}, separators=(",", ":")
    )


def read_stamp(network_name: str) -> Stamp | None:
    """None for a plan that somebody else built."""
    if not network_name.startswith(_PREFIX):
        return None
    try:
        content = json.loads(network_name[len(_PREFIX) :])
        return Stamp(str(content["precision"]), tuple(map(str, content["probabilities"])))
    except (ValueError, KeyError, TypeError):
        return None
