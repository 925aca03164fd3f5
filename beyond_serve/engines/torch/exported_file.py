"""Read what an exported program (torch.export.save) says of itself, from its JSON and without PyTorch.

The schema is PyTorch's torch/_export/serde/schema.py, major version 8.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.torch.archive import EXTRA, PROGRAM, Archive
from beyond_serve.engines.torch.facts import METADATA_KEY, Built, Pt2Facts, built_from_json
from beyond_serve.errors import ModelLoadError

DATATYPES = {
    1: "UINT8", 2: "INT8", 3: "INT16", 4: "INT32", 5: "INT64", 6: "FP16", 7: "FP32", 8: "FP64",
    12: "BOOL", 13: "BF16", 28: "UINT16", 34: "UINT32", 35: "UINT64",
}  # fmt: skip

_PRECISIONS = {"FP32": "fp32", "BF16": "bf16", "FP16": "fp16", "INT8": "int8", "UINT8": "int8"}
_KEEPS_VALUES = re.compile(r"aten\.(_?to_copy|to|view|reshape|squeeze|unsqueeze|flatten|clone|contiguous)\b")
_PROBABILITIES = re.compile(r"aten\.(_?softmax|_safe_softmax|sigmoid)\b")
_SYMBOL = re.compile(r"Symbol\('(\w+)'")
# What PyTorch writes for "no limit".
_NO_LIMIT = 2**31


def read_exported(archive: Archive) -> Pt2Facts:
    """
    Raises:
        ModelLoadError: damaged, or of a schema that is not known here.
    """
    program = archive.json(PROGRAM)
    try:
        facts = _read(program)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        schema = program.get("schema_version")
        raise ModelLoadError(
            f"'{archive.path}' is an exported program that cannot be read here (schema {schema}): {error!r}",
            "export it again with a PyTorch between 2.9 and the one installed",
        ) from error
    name = EXTRA + METADATA_KEY
    if name not in archive.names:
        return facts
    try:
        return _of_our_own(facts, built_from_json(archive.read(name).decode("utf-8")))
    except ValueError as error:
        raise ModelLoadError(f"'{archive.path}' cannot be used: {error}", "build it again") from error


def _of_our_own(facts: Pt2Facts, built: Built) -> Pt2Facts:
    graph = GraphFacts((built.input,), built.outputs, frozenset(built.probabilities), quantized=False)
    return replace(
        facts,
        graph=graph,
        precision=built.precision,
        max_batch=built.max_batch,
        torch=built.torch,
        normalises=built.normalises,
    )


def _read(program: Mapping[str, Any]) -> Pt2Facts:
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    values = graph["tensor_values"]
    inputs = tuple(_spec(name, name, values) for name in _inputs(signature))
    ends = list(_outputs(signature))
    names = _output_names(module["module_call_graph"], len(ends))
    outputs = tuple(_spec(value, name, values) for value, name in zip(ends, names, strict=True))
    producers = {out["as_tensor"]["name"]: node for node in graph["nodes"] for out in node["outputs"]
                 if "as_tensor" in out}  # fmt: skip
    probabilities = frozenset(
        name for value, name in zip(ends, names, strict=True) if _ends_in_probabilities(value, producers)
    )
    precision, device = _weights(signature, values)
    return Pt2Facts(
        kind="export",
        graph=GraphFacts(inputs, outputs, probabilities, quantized=precision == "int8"),
        precision=precision,
        device=device,
        max_batch=_largest_batch(signature, values, program.get("range_constraints", {})),
        torch=str(program.get("torch_version") or ""),
        keyword=_keyword(module["module_call_graph"]),
    )


def _inputs(signature: Mapping[str, Any]) -> Iterator[str]:
    for spec in signature["input_specs"]:
        if "user_input" in spec:
            argument = spec["user_input"]["arg"]
            yield argument["as_tensor"]["name"] if "as_tensor" in argument else next(iter(argument))


def _outputs(signature: Mapping[str, Any]) -> Iterator[str]:
    for spec in signature["output_specs"]:
        argument = spec.get("user_output", {}).get("arg", {})
        if "as_tensor" in argument:
            yield argument["as_tensor"]["name"]


def _spec(value: str, name: str, values: Mapping[str, Any]) -> TensorSpec:
    if value not in values:  # an argument that is no tensor
        return TensorSpec(name, "UNKNOWN", ())
    meta = values[value]
    shape = tuple(size.get("as_int", -1) for size in meta["sizes"])
    return TensorSpec(name, DATATYPES.get(meta["dtype"], "UNKNOWN"), shape)


def _root_call(calls: list[Any]) -> Mapping[str, Any]:
    signature = next((call["signature"] for call in calls if call["fqn"] == ""), None)
    return signature or {}


def _output_names(calls: list[Any], count: int) -> list[str]:
    """The keys of the dict (or of transformers' ModelOutput) that is returned, else output0, output1 …"""
    tree = json.loads(_root_call(calls).get("out_spec", "[1, {}]"))[1]
    context = tree.get("context")
    keys = json.loads(context) if isinstance(context, str) else None
    children = tree.get("children_spec", [])
    flat = all(child.get("type") is None for child in children)
    if (
        flat
        and isinstance(keys, list)
        and len(keys) == count
        and all(isinstance(key, str) and key for key in keys)
    ):
        return keys
    return [f"output{index}" for index in range(count)]


def _keyword(calls: list[Any]) -> str | None:
    tree = json.loads(_root_call(calls).get("in_spec", "[1, {}]"))[1]
    children = tree.get("children_spec", [])
    if len(children) != 2 or children[0].get("children_spec"):
        return None
    keys = json.loads(children[1].get("context") or "[]")
    return str(keys[0]) if isinstance(keys, list) and len(keys) == 1 else None


def _weights(signature: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, str]:
    """The precision that most weights have, and the device of all."""
    sizes: Counter[str] = Counter()
    devices: Counter[str] = Counter()
    for spec in signature["input_specs"]:
        content = spec.get("parameter") or spec.get("buffer") or spec.get("tensor_constant")
        if content is None or content["arg"]["name"] not in values:
            continue
        meta = values[content["arg"]["name"]]
        count = math.prod(size.get("as_int", 1) for size in meta["sizes"])
        datatype = DATATYPES.get(meta["dtype"], "UNKNOWN")
        if datatype in _PRECISIONS:
            sizes[_PRECISIONS[datatype]] += count
        devices[meta["device"]["type"]] += 1
    precision = sizes.most_common(1)[0][0] if sizes else "fp32"
    return precision, "cuda" if "cuda" in devices else "cpu"


def _largest_batch(
    signature: Mapping[str, Any], values: Mapping[str, Any], ranges: Mapping[str, Any]
) -> int | None:
    name = next(_inputs(signature), "")
    if name not in values or not values[name]["sizes"]:
        return None
    size = values[name]["sizes"][0]
    symbol = _SYMBOL.fullmatch(size.get("as_expr", {}).get("expr_str", "").partition(",")[0])
    limit = ranges.get(symbol[1], {}).get("max_val") if symbol else None
    return int(limit) if isinstance(limit, int) and limit < _NO_LIMIT else None


def _ends_in_probabilities(value: str, producers: Mapping[str, Any]) -> bool:
    node = producers.get(value)
    while node is not None and _KEEPS_VALUES.search(node["target"]):
        first = node["inputs"][0]["arg"].get("as_tensor", {})
        node = producers.get(first.get("name"))
    return node is not None and _PROBABILITIES.search(node["target"]) is not None
