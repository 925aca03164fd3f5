"""What a .pt2 file says of itself; and how our own builds write it into the file. Knows no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.torch.archive import Kind

METADATA_KEY = "beyond_serve"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Built:
    """What `build_pt2` knows of its file.

    Attributes:
        input, outputs: with the batch axis first, -1 unless it is fixed.
        max_batch: the largest batch it was built for.
        precision: "fp32", "bf16" or "fp16".
        device: "cpu" or "cuda".
        capability: the GPU's, (major, minor); None for a CPU.
        torch: PyTorch's version.
        normalises: takes uint8 [n, H, W, 3] as decoded; normalisation is inside.
        probabilities: outputs that a softmax or sigmoid made.
    """

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    max_batch: int
    precision: str
    device: str
    capability: tuple[int, int] | None
    torch: str
    normalises: bool = True
    probabilities: tuple[str, ...] = ()

    def to_json(self) -> str:
        content = {
            "version": _VERSION,
            "input": _as_json(self.input),
            "outputs": [_as_json(spec) for spec in self.outputs],
            "max_batch": self.max_batch,
            "precision": self.precision,
            "device": self.device,
            "capability": self.capability,
            "torch": self.torch,
            "normalises": self.normalises,
            "probabilities": self.probabilities,
        }
        return json.dumps(content)


def built_from_json(text: str) -> Built:
    """
    Raises:
        ValueError: another version's, or damaged.
    """
    try:
        content = json.loads(text)
        if content["version"] != _VERSION:
            raise ValueError(f"its metadata has version {content['version']}; {_VERSION} is known here")
        capability = content["capability"]
        return Built(
            input=_from_json(content["input"]),
            outputs=tuple(_from_json(entry) for entry in content["outputs"]),
            max_batch=int(content["max_batch"]),
            precision=str(content["precision"]),
            device=str(content["device"]),
            capability=None if capability is None else (int(capability[0]), int(capability[1])),
            torch=str(content["torch"]),
            normalises=bool(content["normalises"]),
            probabilities=tuple(str(name) for name in content["probabilities"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"its metadata is damaged ({error!r})") from error


def _as_json(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _from_json(content: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(
        str(content["name"]), str(content["datatype"]), tuple(int(size) for size in content["shape"])
    )


@dataclass(frozen=True, slots=True)
class Pt2Facts:
    """
    Attributes:
        graph: inputs, outputs and ends, as of any format.
        precision: what it computes in; "mixed" where nobody says.
        device: "cpu" or "cuda": what it was compiled for, or where its constants lie.
        capability: the GPU's it was compiled for; None if that does not matter or nobody says.
        platform: operating system and machine it was compiled for, as in ("linux", "x86_64").
        cpu_flags: what the CPU must have, in /proc/cpuinfo's words.
        max_batch: None where the file sets no limit.
        torch: the version that wrote it, "" where nobody says.
        keyword: the input goes in by this name, None by position.
        described: a sidecar says what inputs and outputs are, and not the file itself.
        normalises: it takes pixels as they were decoded; normalisation and order of channels are inside.
        needs_torch_operators: it calls operators that are not in AOTInductor's C interface.
    """

    kind: Kind
    graph: GraphFacts
    precision: str
    device: str
    capability: tuple[int, int] | None = None
    platform: tuple[str, str] | None = None
    cpu_flags: tuple[str, ...] = ()
    max_batch: int | None = None
    torch: str = ""
    keyword: str | None = None
    described: bool = False
    normalises: bool = False
    needs_torch_operators: bool = False
