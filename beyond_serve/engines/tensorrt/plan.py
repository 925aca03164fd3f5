"""A TensorRT plan, loaded: its weights on the GPU, and what it says of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from beyond_serve.engines.cuda.errors import OUT_OF_MEMORY
from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.tensorrt.flavour import Installed
from beyond_serve.engines.tensorrt.plan_facts import PlanFacts, Profile
from beyond_serve.engines.tensorrt.plan_file import PlanFile
from beyond_serve.engines.tensorrt.plan_log import PlanLog, make_logger
from beyond_serve.engines.tensorrt.stamp import read_stamp
from beyond_serve.errors import ModelLoadError

DATATYPES = {
    "FLOAT": "FP32", "HALF": "FP16", "BF16": "BF16", "INT8": "INT8", "INT32": "INT32",
    "INT64": "INT64", "BOOL": "BOOL", "UINT8": "UINT8",
}  # fmt: skip
"""TensorRT's data types in the Open Inference Protocol's words; those of under 8 bits have none."""

_BUILD = "beyond-models build model.onnx -o model.plan"
_NO_MEMORY = re.compile(r"out\s*of\s*memory", re.IGNORECASE)
_CUDA_CODE = re.compile(r"cudaError (\d+)")


class _Refusal(NamedTuple):
    """pattern: of what TensorRT logged."""

    pattern: str
    why: str
    hint: str


_REFUSALS = (
    _Refusal(
        "HostCodeAllowed",
        "brings host code of its own, which is not run unless you say so",
        "--trust-plan allows it: only for a plan from a source you trust, it can do what this process can",
    ),
    _Refusal("blobSize|BufferSize|END_OF_PLAN", "is truncated or damaged", "copy it again; check its size"),
    _Refusal(
        "magicTag|(erialization|library|ajor) version|ersion tag|newer plan|version of TensorRT",
        "was made by another version or kind of TensorRT; this is {flavour} {version}",
        f"build it with the installed one: {_BUILD}",
    ),
    _Refusal("expectedPlatformTag", "was built for another operating system", f"build it here: {_BUILD}"),
    _Refusal(
        "ompute capability|ncompatible device|hardware-compatible|ompute [0-9]",
        "was built for another kind of GPU",
        f"build it on a machine with this GPU: {_BUILD}",
    ),
    _Refusal(
        "cudaError|Cuda Runtime|Cuda Driver",
        "cannot be loaded on this GPU",
        "see nvidia-smi; the driver may be too old for this version of TensorRT",
    ),
)
"""The first whose pattern is found. Gathered from the libraries' own texts."""


@dataclass(slots=True)
class LoadedPlan:
    """
    Attributes:
        trt: the flavour's Python module.
        logger, runtime, engine: TensorRT's; each needs the one before it for as long as it lives.
    """

    source: str
    trt: Any
    log: PlanLog
    facts: PlanFacts
    logger: Any
    runtime: Any
    engine: Any

    def close(self) -> None:
        self.engine = None
        self.runtime = None
        self.logger = None


def load_plan_file(source: Path, file: PlanFile, installed: Installed, *, trust: bool) -> LoadedPlan:
    """Deserialize on the thread's current device.

    Raises:
        ModelLoadError: TensorRT refuses it, or its tensors cannot be served.
        CudaError: there is no room on the device.
    """
    trt, log = installed.module, PlanLog()
    logger = make_logger(trt, log)
    runtime = trt.Runtime(logger)
    if trust:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(file.content)
    if engine is None:
        raise _refused(source, installed, log)
    facts = read_plan_facts(trt, engine, str(source))
    log.forget()
    log.forwards_errors = True
    return LoadedPlan(str(source), trt, log, facts, logger, runtime, engine)


def _refused(source: Path, installed: Installed, log: PlanLog) -> Exception:
    text = log.raw()
    if _NO_MEMORY.search(text):
        return CudaError(OUT_OF_MEMORY, "cudaErrorMemoryAllocation", "loading the plan")
    flavour = installed.flavour
    version = installed.module.__version__
    for refusal in _REFUSALS:
        if re.search(refusal.pattern, text):
            why = refusal.why.format(flavour=flavour.package, version=version)
            return ModelLoadError(f"the plan '{source}' {why}: {log.told()}", refusal.hint)
    return ModelLoadError(
        f"{flavour.package} {version} cannot load the plan '{source}': {log.told()}",
        f"build it with this version, on this GPU: {_BUILD}",
    )


def asynchronous_error(log: PlanLog, call: str) -> CudaError | None:
    """What CUDA refused, by what TensorRT logged of it."""
    text = log.raw()
    if _NO_MEMORY.search(text):
        return CudaError(OUT_OF_MEMORY, "cudaErrorMemoryAllocation", call)
    found = _CUDA_CODE.search(text)
    return CudaError(int(found[1]), f"cudaError {found[1]}", call) if found else None


def read_plan_facts(trt: Any, engine: Any, source: str) -> PlanFacts:
    """
    Raises:
        ModelLoadError: a tensor is of a kind that cannot be served.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    for name in names:
        _check_tensor(trt, engine, name, source)
    given = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    inputs = tuple(_spec(engine, name, source) for name in given)
    outputs = tuple(_spec(engine, name, source) for name in names if name not in given)
    profiles = _profiles(engine, inputs[0]) if len(inputs) == 1 else ()
    return PlanFacts(inputs, outputs, profiles, read_stamp(engine.name or ""))


def _check_tensor(trt: Any, engine: Any, name: str, source: str) -> None:
    if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE or engine.is_shape_inference_io(name):
        raise ModelLoadError(
            f"the tensor '{name}' of the plan '{source}' is a shape and no data",
            "build the plan from a model whose shapes are not inputs or outputs",
        )
    for index in range(engine.num_optimization_profiles):
        # In words, as the lean package has no name for what `get_tensor_format` returns.
        layout = engine.get_tensor_format_desc(name, index)
        if "linear" not in layout.lower():
            raise ModelLoadError(
                f"the tensor '{name}' of the plan '{source}' lies in a layout of the GPU's own: {layout}",
                "build the plan with linear inputs and outputs, TensorRT's default",
            )


def _spec(engine: Any, name: str, source: str) -> TensorSpec:
    kind = engine.get_tensor_dtype(name).name
    if kind not in DATATYPES:
        raise ModelLoadError(
            f"the tensor '{name}' of the plan '{source}' is {kind}, which no client can read",
            "build the plan with inputs and outputs of 8 bits or more",
        )
    return TensorSpec(name, DATATYPES[kind], tuple(engine.get_tensor_shape(name)))


def _profiles(engine: Any, spec: TensorSpec) -> tuple[Profile, ...]:
    if -1 not in spec.shape:
        return (Profile(0, spec.shape, spec.shape),)
    profiles = []
    for index in range(engine.num_optimization_profiles):
        least, _, most = engine.get_tensor_profile_shape(spec.name, index)
        profiles.append(Profile(index, tuple(least), tuple(most)))
    return tuple(profiles)
