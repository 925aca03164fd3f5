"""The `[pt2]` table of NAME.toml: what an AOTInductor package that others built does not say of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import ConfigError, ModelLoadError
from beyond_serve.preprocess.beside import check_keys, read_sidecar

_KEYS = ("input", "datatype", "outputs", "max_batch", "precision")
_DATATYPES = ("FP32", "FP16", "UINT8")
_PRECISIONS = ("fp32", "bf16", "fp16", "int8", "mixed")


def example(name: str) -> str:
    """What to write into the sidecar, on one line."""
    return (
        f"write into {name}: [pt2] input = [-1, 3, 224, 224], outputs = {{logits = [-1, 1000]}}, "
        "each on a line of its own, with this model's shapes (-1: the batch is free)"
    )


@dataclass(frozen=True, slots=True)
class Described:
    """What the table says.

    Keys:
        input: shape of the image input, the batch first; -1 if it is free.
        datatype: of the input: "FP32" (default), "FP16" or "UINT8".
        outputs: name = shape for each output, in the model's order; served as FP32.
        max_batch: the largest batch the package was compiled for; default: no limit.
        precision: what it computes in, "mixed" by default.
    """

    graph: GraphFacts
    max_batch: int | None
    precision: str


def read_described(model_path: Path) -> Described:
    """
    Raises:
        ModelLoadError: there is no such table, or it makes no sense; says what to write.
    """
    try:
        sidecar = read_sidecar(model_path)
        if sidecar is None or "pt2" not in sidecar.content:
            raise ModelLoadError(
                f"'{model_path}' is an AOTInductor package that does not say what its inputs and outputs are",
                example(model_path.with_suffix(".toml").name),
            )
        return _described(sidecar.content["pt2"], f"{sidecar.path}: [pt2]")
    except ConfigError as error:
        raise ModelLoadError(error.message, error.hint) from error


def _described(table: Any, where: str) -> Described:
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table", f"with the keys {', '.join(_KEYS)}")
    check_keys(table, _KEYS, where)
    datatype = _one_of(table, "datatype", "FP32", _DATATYPES, where)
    image = TensorSpec("input", datatype, _shape(table.get("input"), "input", where))
    outputs = table.get("outputs")
    if not isinstance(outputs, dict) or not outputs:
        raise ConfigError(f"{where}: outputs must name at least one", "outputs = {logits = [-1, 1000]}")
    specs = tuple(
        TensorSpec(name, "FP32", _shape(shape, f"outputs.{name}", where)) for name, shape in outputs.items()
    )
    max_batch = table.get("max_batch")
    if max_batch is not None and (type(max_batch) is not int or max_batch < 1):
        raise ConfigError(f"{where}: max_batch = {max_batch!r} must be a number of at least 1")
    precision = _one_of(table, "precision", "mixed", _PRECISIONS, where)
    graph = GraphFacts((image,), specs, frozenset(), quantized=precision == "int8")
    return Described(graph, max_batch, precision)


def _shape(value: Any, key: str, where: str) -> tuple[int, ...]:
    if (
        isinstance(value, list)
        and value
        and all(type(size) is int and (size > 0 or size == -1) for size in value)
    ):
        return tuple(value)
    raise ConfigError(f"{where}: {key} = {value!r} must be a shape such as [-1, 3, 224, 224]")


def _one_of(table: dict[str, Any], key: str, default: str, known: tuple[str, ...], where: str) -> str:
    value = table.get(key, default)
    if value not in known:
        raise ConfigError(f"{where}: {key} = {value!r} is not known", f"one of: {', '.join(known)}")
    return str(value)
