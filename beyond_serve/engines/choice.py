"""Which engine runs a model, and where."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from beyond_serve.engines.cuda.probe import cuda_devices
from beyond_serve.engines.describe import FORMATS
from beyond_serve.engines.onnxruntime_cuda import has_cuda_provider
from beyond_serve.errors import ModelLoadError

ENGINES = ("auto", "openvino", "onnxruntime", "tensorrt", "torch")

_RUNS = {
    "openvino": (("onnx", "ir"), ("cpu",)),
    "onnxruntime": (("onnx",), ("cpu", "cuda")),
    "tensorrt": (("plan",), ("cuda",)),
    "torch": (("pt2",), ("cpu", "cuda")),
}
"""Each engine's formats and kinds of device. Where several can, the first is taken."""

_FORMAT_NAMES = {"onnx": "ONNX", "ir": "OpenVINO IR", "plan": "TensorRT", "pt2": "PyTorch"}


class Choice(NamedTuple):
    """device: "cpu" or "cuda:N"."""

    engine: str
    device: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of the machine, only when the answer matters.

    Attributes:
        has_openvino: the package is installed.
        gpus: how many GPUs the driver offers.
        onnxruntime_cuda: the installed ONNX Runtime has its CUDA provider.
    """

    has_openvino: Callable[[], bool] = lambda: importlib.util.find_spec("openvino") is not None
    gpus: Callable[[], int] = lambda: len(cuda_devices())
    onnxruntime_cuda: Callable[[], bool] = has_cuda_provider


def choose(source: str, engine: str, device: str, machine: Machine | None = None) -> Choice:
    """The engine as asked if it can run this file there, else the best that can. `device` auto takes a GPU
    where there is one and the file's engine can use it.

    Args:
        source: path of a file with a known ending.
        device: auto, cpu or cuda:N.

    Raises:
        ModelLoadError: no engine, or not the one asked for, runs this file on this device.
    """
    machine = machine or Machine()
    kind = FORMATS[source[source.rindex(".") :].lower()]
    able = [name for name, (formats, _) in _RUNS.items() if kind in formats]
    if engine not in ("auto", *able):
        raise ModelLoadError(
            f"{engine} cannot run the {_FORMAT_NAMES[kind]} file '{source}'",
            f"use --engine {' or '.join(able)}",
        )
    names = able if engine == "auto" else [engine]
    if device == "auto":
        device = _best_device(names, machine)
    place = re.sub(r":\d+$", "", device)
    there = [name for name in names if place in _RUNS[name][1]]
    if not there:
        raise ModelLoadError(
            f"the engine {names[0]} does not run on {device}",
            "use --device " + " or ".join(sorted({p for name in names for p in _RUNS[name][1]})),
        )
    if there[0] == "openvino" and engine == "auto" and kind == "onnx" and not machine.has_openvino():
        there = ["onnxruntime"]
    return Choice(there[0], device)


def _best_device(names: list[str], machine: Machine) -> str:
    places = {place for name in names for place in _RUNS[name][1]}
    if "cpu" not in places:
        return "cuda:0"
    if "cuda" not in places or not machine.gpus():
        return "cpu"
    # OpenVINO is there with the package; a GPU build of ONNX Runtime was chosen by somebody.
    return "cpu" if "onnxruntime" in names and not machine.onnxruntime_cuda() else "cuda:0"
