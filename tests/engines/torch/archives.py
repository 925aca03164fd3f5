"""Archives as PyTorch writes them, made without PyTorch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.torch.facts import METADATA_KEY, Built

CODE = "data/aotinductor/model/"
METADATA = CODE + "c1.wrapper_metadata.json"


def write(path: Path, entries: dict[str, bytes | str], root: str = "net") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(f"{root}/{name}", content)
    return path


def compiled(path: Path, metadata: dict[str, Any], **more: bytes | str) -> Path:
    return write(path, {CODE + "c1.wrapper.so": b"ELF", METADATA: json.dumps(metadata), **more})


def built(**changes: Any) -> Built:
    values: dict[str, Any] = {
        "input": TensorSpec("pixels", "UINT8", (-1, 12, 16, 3)),
        "outputs": (TensorSpec("logits", "FP32", (-1, 5)),),
        "max_batch": 8,
        "precision": "bf16",
        "device": "cuda",
        "capability": (9, 0),
        "torch": "2.11.0",
    }
    return Built(**{**values, **changes})


def our_own(path: Path, **changes: Any) -> Path:
    return compiled(path, {METADATA_KEY: built(**changes).to_json(), "AOTI_DEVICE_KEY": "cuda"})


def _sizes(shape: tuple[int | str, ...]) -> list[dict[str, Any]]:
    return [
        {"as_int": size}
        if isinstance(size, int)
        else {"as_expr": {"expr_str": f"Symbol('{size}', positive=True, integer=True)", "hint": None}}
        for size in shape
    ]


def tensor(dtype: int, shape: tuple[int | str, ...], device: str = "cpu") -> dict[str, Any]:
    return {"dtype": dtype, "sizes": _sizes(shape), "device": {"type": device, "index": None}}


def node(target: str, source: str, result: str) -> dict[str, Any]:
    return {
        "target": f"torch.ops.{target}",
        "inputs": [{"name": "self", "arg": {"as_tensor": {"name": source}}, "kind": 1}],
        "outputs": [{"as_tensor": {"name": result}}],
    }


LEAF = {"type": None, "context": None, "children_spec": []}


def tree(kind: str, context: Any, *children: Any) -> dict[str, Any]:
    return {"type": kind, "context": json.dumps(context), "children_spec": list(children)}


def program(**changes: Any) -> dict[str, Any]:
    """models/model.json of a network with one weight, whose answer goes through a softmax."""
    content = {**_softmax_of_linear(), **changes}
    outputs = [{"user_output": {"arg": {"as_tensor": {"name": name}}}} for name in content["outputs"]]
    return {
        "graph_module": {
            "graph": {"tensor_values": content["values"], "nodes": content["nodes"]},
            "signature": {"input_specs": content["inputs"], "output_specs": outputs},
            "module_call_graph": [{"fqn": "", "signature": content["call"]}],
        },
        "range_constraints": content["ranges"],
        "schema_version": {"major": 8, "minor": 20},
        "torch_version": "2.13.0",
    }


def _softmax_of_linear() -> dict[str, Any]:
    """The parts of `program` that a test may change."""
    return {
        "values": {
            "p_w": tensor(13, (3, 5)),
            "pixels": tensor(7, ("s1", 3, 12, 16)),
            "linear": tensor(7, ("s1", 5)),
            "softmax": tensor(7, ("s1", 5)),
            "to": tensor(7, ("s1", 5)),
        },
        "nodes": [
            node("aten.linear.default", "pixels", "linear"),
            node("aten.softmax.int", "linear", "softmax"),
            node("aten.to.dtype", "softmax", "to"),
        ],
        "inputs": [
            {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "w"}},
            {"user_input": {"arg": {"as_tensor": {"name": "pixels"}}}},
        ],
        "outputs": ["to"],
        "call": {
            "in_spec": json.dumps([1, tree("tuple", None, tree("tuple", None, LEAF), tree("dict", []))]),
            "out_spec": json.dumps([1, tree("dict", ["probabilities"], LEAF)]),
        },
        "ranges": {"s1": {"min_val": 1, "max_val": 8}},
    }


def exported(path: Path, content: Any = None, **more: bytes | str) -> Path:
    return write(path, {"models/model.json": json.dumps(content or program()), **more})
