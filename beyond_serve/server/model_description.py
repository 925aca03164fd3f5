"""What `beyond-models describe` says of a model: tensors, preprocessing, labels, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from beyond_serve.demo.location import demo_model
from beyond_serve.engines import onnx_file
from beyond_serve.engines.describe import ModelDescription, describe_model
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.plan import PreprocessPlan
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.server.compiled_rows import compiled_rows, place_rows
from beyond_serve.zoo.card import properties_of
from beyond_serve.zoo.cost import count

_LABELS_SHOWN = 10


def description_table(source: str) -> Table:
    """Describes a model's file, or `demo`. Compiles nothing. Raises ModelLoadError, ConfigError."""
    path = str(demo_model()) if source == "demo" else source
    description = describe_model(path)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for rows in (
        _model_rows(description),
        compiled_rows(description),
        place_rows(description),
        _image_rows(description),
        _label_rows(description),
        _cost_rows(description),
    ):
        for name, value in rows:
            table.add_row(name, value)
    return table


def _model_rows(description: ModelDescription) -> Iterator[tuple[str, str]]:
    yield "model", f"{description.source} ({description.format})"
    for spec in description.inputs:
        yield "input", _tensor(spec)
    for spec in description.outputs:
        yield "output", _tensor(spec)
    if description.batch is not None:
        yield "batch", f"fixed at {description.batch}" + (": cannot batch" if description.batch == 1 else "")
    else:
        yield "batch", "any size"
    if description.quantized and description.format in ("onnx", "ir"):
        yield "computes in", "int8"
    if description.scores is None:
        yield "scores", "none: answers are raw outputs"
    else:
        made_of = "probabilities" if description.scores_are_probabilities else "logits; softmax is applied"
        yield "scores", f"{description.scores} ({made_of})"


def _image_rows(description: ModelDescription) -> Iterator[tuple[str, str]]:
    if not description.takes_images:
        yield "image", "encoded bytes, as they come"
        return
    size = description.image_size
    shown = f"{size[1]}x{size[0]}" if size else "any size"
    yield "image", f"{shown}, {description.channels} channels, {description.layout}, {description.datatype}"
    plan, found_in = load_plan(_file_of(description), size)
    yield "preprocessing", plan.describe()
    yield "normalization", _normalization(plan)
    yield "read from", found_in


def _label_rows(description: ModelDescription) -> Iterator[tuple[str, str]]:
    if description.scores is None:
        return
    labels = load_labels(_file_of(description))
    if labels is None:
        yield "labels", "none: classes are numbered"
        return
    more = ", …" if len(labels) > _LABELS_SHOWN else ""
    yield "labels", f"{len(labels)}: {', '.join(labels[:_LABELS_SHOWN])}{more}"


def _cost_rows(description: ModelDescription) -> Iterator[tuple[str, str]]:
    """Counted from the graph as it is now, so that it cannot be another file's."""
    path = _file_of(description)
    if path is None or description.format != "onnx":
        return
    proto = onnx_file.load_proto(path)
    plan, _ = load_plan(path, description.image_size)
    height, width, _ = plan.output_shape
    try:
        cost = count(proto, (height, width))
    except ModelLoadError as error:
        yield "cost", f"not known: {error.message}"
    else:
        size = f"{width}x{height}"
        yield "cost", f"{cost.gmacs:.4g} GMACs ({cost.gflops:.4g} GFLOPs) for an image of {size}"
        yield "weights", f"{cost.weights / 1e6:.4g} M numbers"
    known = properties_of(proto)
    if known:
        built = f"{known['architecture']} of {known['library']} {known['library_version']}"
        parameters = int(known["parameters"]) / 1e6
        yield (
            "exported",
            f"{built}, {parameters:.4g} M parameters, {known['weights']} weights ({known['origin']})",
        )
    if "warning" in known:
        yield "WARNING", known["warning"]


def _file_of(description: ModelDescription) -> Path | None:
    """Beside it lie its preprocessing and its labels."""
    return None if description.format in ("null", "sim") else Path(description.source)


def _tensor(spec: TensorSpec) -> str:
    sizes = ", ".join("any" if size < 0 else str(size) for size in spec.shape)
    return f"{spec.name}  {spec.datatype} ({sizes})"


def _normalization(plan: PreprocessPlan) -> str:
    how = plan.normalization
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (how.mean, how.std))
    return f"(x * {how.scale:.6g} - mean) / std, mean {mean}, std {std}, {how.channel_order}"
