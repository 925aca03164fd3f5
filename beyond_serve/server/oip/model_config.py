"""A model's metadata and its configuration in Triton's words, which perf_analyzer and Model Analyzer read.

Field names and enumerations are model_config.proto's; both transports answer these very objects.
"""

from __future__ import annotations

from typing import Any

from beyond_serve.engines.protocol import EngineInfo, TensorSpec
from beyond_serve.server.oip.served_model import ServedModel
from beyond_serve.server.oip.signature import listed_inputs, listed_outputs
from beyond_serve.wire.datatypes import BYTES

_PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan", "torch": "pytorch_libtorch"}


def model_metadata(model: ServedModel) -> dict[str, Any]:
    """Name, versions, platform, inputs and outputs; shapes with the batch axis, as -1."""
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": platform(model.info),
        "inputs": [_metadata(spec) for spec in listed_inputs(model.info)],
        "outputs": [_metadata(spec) for spec in listed_outputs(model.info)],
    }


def model_config(model: ServedModel) -> dict[str, Any]:
    """The configuration; `dims` are without the batch axis, as `max_batch_size` > 0 means.

    Larger requests than `max_batch_size` are served all the same, in several batches.
    """
    config, info = model.config, model.info
    inputs = listed_inputs(info)
    return {
        "name": model.name,
        "platform": platform(info),
        "backend": info.engine,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": info.fixed_batch or model.max_batch,
        "input": [_input(spec, optional=len(inputs) > 1) for spec in inputs],
        "output": [_output(spec) for spec in listed_outputs(info)],
        "instance_group": [_instances(model)],
        "dynamic_batching": {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": config.max_delay_us,
            "preserve_ordering": False,
            "priority_levels": config.priority_levels,
            "default_priority_level": config.levels.default,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": round(config.timeout_ms * 1000),
                "allow_timeout_override": True,
                "max_queue_size": config.max_queue,
            },
        },
        "parameters": {
            "precision": {"string_value": info.precision},
            "device": {"string_value": info.device},
            "simulated": {"string_value": str(info.simulated).lower()},
        },
    }


def platform(info: EngineInfo) -> str:
    return _PLATFORMS.get(info.engine, info.engine)


def _metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _input(spec: TensorSpec, *, optional: bool) -> dict[str, Any]:
    return {**_output(spec), "format": "FORMAT_NONE", "optional": optional}


def _output(spec: TensorSpec) -> dict[str, Any]:
    """A shape of the batch axis alone is spelt dims [1], reshaped to nothing: dims may not be empty."""
    dims = list(spec.shape[1:])
    entry: dict[str, Any] = {"name": spec.name, "data_type": _data_type(spec.datatype), "dims": dims or [1]}
    if not dims:
        entry["reshape"] = {"shape": []}
    return entry


def _data_type(datatype: str) -> str:
    return "TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}"


def _instances(model: ServedModel) -> dict[str, Any]:
    """`count` is on each of the GPUs, as Triton has it."""
    devices = model.info.device.split(",")
    gpus = [int(device.partition(":")[2] or 0) for device in devices if device.startswith("cuda")]
    return {
        "name": f"{model.name}_0",
        "kind": "KIND_GPU" if gpus else "KIND_CPU",
        "count": model.config.instances * (1 if gpus else len(devices)),
        "gpus": gpus,
    }
