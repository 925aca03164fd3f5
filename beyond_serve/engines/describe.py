"""What a model is, read from its file before anything is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from beyond_serve.engines import ir_file, onnx_file
from beyond_serve.engines.layout import Layout, find_scores, image_axes
from beyond_serve.engines.null_engine import parse_null
from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.sim_engine import read_sim_table
from beyond_serve.errors import ModelLoadError

FORMATS = {".onnx": "onnx", ".xml": "ir", ".plan": "plan", ".engine": "plan", ".pt2": "pt2"}
"""What a file's ending says of its format."""

_IMAGE_DATATYPES = ("FP32", "FP16", "UINT8")


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A model that can be served.

    Attributes:
        source: as given: a path, "null:…" or "sim:…".
        format: "onnx", "ir", "plan" (TensorRT), "pt2" (PyTorch), "null" or "sim".
        inputs, outputs: with the batch axis first, -1 where a size is free.
        layout: of the image input, None if the engine takes encoded bytes only.
        image_size: (H, W) that the model wants, None if it is free or no pixels are wanted.
        channels: 3, or 1 for a grey model; 0 if no pixels are wanted.
        batch: the model's batch size, None if it is free.
        datatype: of the image input, in the Open Inference Protocol's words.
        scores: the output of class scores, None if there is none.
        scores_are_probabilities: the graph itself ends in a softmax or sigmoid.
        quantized: the graph computes in int8.
    """

    source: str
    format: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layout: Layout | None
    image_size: tuple[int, int] | None
    channels: int
    batch: int | None
    datatype: str
    scores: str | None
    scores_are_probabilities: bool
    quantized: bool = False

    @property
    def takes_images(self) -> bool:
        """The host decodes images for it."""
        return self.layout is not None


def describe_model(source: str, *, trust_plan: bool = False, device: str = "auto") -> ModelDescription:
    """Describe the model at `source`. Compiles nothing; reads the file. A TensorRT plan can only be read on
    a machine with a GPU and TensorRT, by loading it.

    Args:
        trust_plan: load a plan that brings host code.
        device: the GPU that loads a plan; the first one where it is none.

    Raises:
        ModelLoadError: missing, no model, no model that takes one image input, or not readable here.
    """
    if source.startswith("null:"):
        return _described(source, "null", parse_null(source).facts())
    if source.startswith("sim:"):
        return _described(source, "sim", read_sim_table(source).facts())
    path = checked_path(source)
    kind = FORMATS[path.suffix.lower()]
    match kind:
        case "onnx":
            facts = onnx_file.read_facts(onnx_file.load_proto(path))
        case "ir":
            facts = ir_file.read_facts(ir_file.read_openvino(path))
        case "plan":
            from beyond_serve.engines.tensorrt.describe import read_facts as read_plan_facts

            on = device if device.startswith("cuda") else "cuda:0"
            facts = read_plan_facts(path, trust_plan=trust_plan, device=on)
        case _:
            from beyond_serve.engines.torch.describe import read_facts

            facts = read_facts(path)
    return _described(source, kind, facts)


def checked_path(source: str) -> Path:
    """The path of a model's file, which exists and has a known ending.

    Raises:
        ModelLoadError: otherwise.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ModelLoadError(
            f"'{source}' is no kind of model that is served",
            "give a file.onnx, .xml (OpenVINO), .plan or .engine (TensorRT), .pt2 (PyTorch), null:, null:224 "
            "or sim:table.json",
        )
    if not path.exists():
        raise ModelLoadError(f"the model '{source}' does not exist", "check the path")
    if not path.is_file():
        raise ModelLoadError(f"the model '{source}' is a folder", "name the model's file in it")
    if path.stat().st_size == 0:
        raise ModelLoadError(f"the model '{source}' is empty", "export or download it again")
    return path


def _described(source: str, kind: str, facts: GraphFacts) -> ModelDescription:
    scores = find_scores(facts.outputs)
    layout, channels, size, batch, datatype = None, 0, None, None, "BYTES"
    if kind != "null" or facts.inputs:
        spec = _image_input(source, facts.inputs)
        axes = image_axes(spec.shape)
        if axes is None:
            raise _no_image(source, spec)
        layout, channels, size = axes
        batch, datatype = spec.shape[0] if spec.shape[0] > 0 else None, spec.datatype
    return ModelDescription(
        source=source,
        format=kind,
        inputs=facts.inputs,
        outputs=facts.outputs,
        layout=layout,
        image_size=size,
        channels=channels,
        batch=batch,
        datatype=datatype,
        scores=scores,
        scores_are_probabilities=scores in facts.probabilities,
        quantized=facts.quantized,
    )


def _image_input(source: str, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    if len(inputs) != 1:
        names = ", ".join(f"'{spec.name}'" for spec in inputs) or "none"
        raise ModelLoadError(
            f"'{source}' has {len(inputs)} inputs ({names}); an image model has one",
            "export it with the image as its only input",
        )
    spec = inputs[0]
    if len(spec.shape) != 4:
        raise _no_image(source, spec)
    if spec.datatype not in _IMAGE_DATATYPES:
        raise ModelLoadError(
            f"the input '{spec.name}' of '{source}' is {spec.datatype}; images go in as FP32, FP16 or UINT8",
            "export the model with one of these input types",
        )
    return spec


def _no_image(source: str, spec: TensorSpec) -> ModelLoadError:
    shape = list(spec.shape)
    return ModelLoadError(
        f"the input '{spec.name}' {shape} of '{source}' is no image: [N, C, H, W] or [N, H, W, C], "
        "C being 3 or 1",
        "export the model with a fixed channel axis of 3 (RGB) or 1 (grey)",
    )
