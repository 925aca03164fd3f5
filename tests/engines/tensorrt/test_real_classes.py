"""The adapter's calls against TensorRT's own classes, where a package is installed.

Needs no GPU, and makes no TensorRT object: without a driver the lean runtime crashes the process.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from beyond_serve.engines.tensorrt.flavour import FLAVOURS, Flavour
from beyond_serve.engines.tensorrt.plan import DATATYPES
from beyond_serve.engines.tensorrt.plan_log import PlanLog, make_logger
from tests.engines.tensorrt.real_classes import (
    BUILDER_CALLS,
    BUILDER_MEMBERS,
    RTX_MEMBERS,
    RTX_RUNTIME_CALLS,
    RUNTIME_CALLS,
    RUNTIME_MEMBERS,
    SEVERITIES,
)

# TensorRT's types of under 8 bits, which the adapter refuses by their names.
UNSERVED = {"FP8", "INT4", "FP4", "E8M0"}


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: flavour.name)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    return request.param


@pytest.fixture
def trt(flavour: Flavour) -> ModuleType:
    for name in flavour.modules:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    pytest.skip(f"{flavour.package} is not installed")


def lacks(trt: ModuleType, calls: dict[str, tuple[str, ...]]) -> list[str]:
    return [f"{kind}.{call}" for kind, names in calls.items() for call in names if not _has(trt, kind, call)]


def _has(trt: ModuleType, kind: str, call: str) -> bool:
    return hasattr(getattr(trt, kind, None), call)


def test_the_runtime_has_what_the_adapter_calls(trt: ModuleType, flavour: Flavour) -> None:
    assert lacks(trt, RUNTIME_CALLS) == []
    assert lacks(trt, RUNTIME_MEMBERS) == []
    if flavour.name == "rtx":
        assert lacks(trt, RTX_RUNTIME_CALLS) == []
        assert lacks(trt, RTX_MEMBERS) == []
    else:
        assert not hasattr(trt.IRuntimeConfig, "cuda_graph_strategy")


def test_the_builder_has_what_the_adapter_calls(trt: ModuleType, flavour: Flavour) -> None:
    if flavour.name == "lean":
        assert not hasattr(trt, "Builder")
        return
    of_rtx = {"num_compute_capabilities", "set_compute_capability"}
    missing = [name for name in lacks(trt, BUILDER_CALLS) if name.split(".")[1] not in of_rtx]
    assert missing == []
    assert lacks(trt, BUILDER_MEMBERS) == []
    # TensorRT 10 has the flags of reduced precisions, later ones have not.
    flags = {"FP16", "BF16"} & set(trt.BuilderFlag.__members__)
    assert flags == ({"FP16", "BF16"} if trt.__version__.startswith("10.") else set())
    if flavour.name == "rtx":
        assert lacks(trt, BUILDER_CALLS) == []


def test_every_data_type_is_known(trt: ModuleType) -> None:
    assert set(trt.DataType.__members__) <= set(DATATYPES) | UNSERVED


def test_calls_take_what_the_adapter_gives(trt: ModuleType) -> None:
    context, engine = trt.IExecutionContext, trt.ICudaEngine
    for call, arguments in (
        (context.execute_async_v3, "stream_handle: int"),
        (context.set_tensor_address, "name: str, memory: int"),
        (context.set_input_shape, "name: str, shape: tuple"),
        (context.set_device_memory, "memory: int, size: int"),
        (context.set_optimization_profile_async, "profile_index: int, stream_handle: int"),
        (engine.get_tensor_profile_shape, "name: str, profile_index: int"),
        (engine.get_tensor_format_desc, "name: str, profile_index: int"),
    ):
        # pybind11 calls what becomes an int by several names, from version to version.
        assert arguments in (call.__doc__ or "").replace("typing.SupportsInt", "int"), call.__name__


def test_a_logger_of_ours_is_one_of_theirs(trt: ModuleType) -> None:
    log = PlanLog()
    logger = make_logger(trt, log)
    assert isinstance(logger, trt.ILogger)
    assert tuple(trt.ILogger.Severity.__members__) == SEVERITIES
    logger.log(trt.ILogger.Severity.ERROR, "IRuntime::load: Error Code 1: heard")
    assert log.told() == "heard"
