from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.tensorrt import describe, flavour
from beyond_serve.engines.tensorrt.engine import load_tensorrt
from tests.engines.cuda.fake_network import FakeKernels
from tests.engines.cuda.fake_runtime import FakeRuntime
from tests.engines.tensorrt.fake_trt import FakePlan, FakeTrt

Serve = Callable[..., CudaEngine]


@pytest.fixture
def device() -> FakeRuntime:
    return FakeRuntime(memory_bytes=10_000_000)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, device: FakeRuntime) -> Callable[..., FakeTrt]:
    """Installs a fake TensorRT, and no other, on a machine with a GPU."""
    monkeypatch.setattr(flavour, "require_device", lambda _: 0)
    monkeypatch.setattr(describe, "bind_device", lambda _: device.bind())
    for known in flavour.FLAVOURS:
        for name in known.modules:
            monkeypatch.setitem(sys.modules, name, None)

    def install(plan: FakePlan | None = None, module: str = "tensorrt") -> FakeTrt:
        trt = FakeTrt(device, plan, rtx=module == "tensorrt_rtx")
        monkeypatch.setitem(sys.modules, module, trt)
        return trt

    return install


@pytest.fixture
def plan_path(tmp_path: Path) -> Path:
    path = tmp_path / "net.plan"
    path.write_bytes(b"ftrt and the rest")
    return path


@pytest.fixture
def serve(device: FakeRuntime, plan_path: Path) -> Serve:
    """The plan's engine, on the fake device."""

    def load(path: Path = plan_path, **config: object) -> CudaEngine:
        asked = EngineConfig(**{"source": str(path), "device": "cuda:0", "max_batch": 8, **config})
        return load_tensorrt(
            asked,
            describe_model(str(path)),
            open_runtime=lambda _: device,
            make_kernels=FakeKernels,
        )

    return load
