"""Our fakes offer only what is held against the real packages: what runs on them calls nothing else."""

from __future__ import annotations

import pytest

from tests.engines.tensorrt import fake_trt
from tests.engines.tensorrt.fake_context import FakeContext
from tests.engines.tensorrt.real_classes import RTX_RUNTIME_CALLS, RUNTIME_CALLS

FAKES = {
    "Runtime": fake_trt.FakeTrtRuntime,
    "ICudaEngine": fake_trt.FakeEngine,
    "IRuntimeConfig": fake_trt.FakeRuntimeConfig,
    "IRuntimeCache": fake_trt.FakeRuntimeCache,
    "IExecutionContext": FakeContext,
}


@pytest.mark.parametrize("kind", FAKES)
def test_a_fake_has_no_method_that_tensorrt_lacks(kind: str) -> None:
    methods = {name for name in vars(FAKES[kind]) if not name.startswith("_")}
    assert methods <= {*RUNTIME_CALLS.get(kind, ()), *RTX_RUNTIME_CALLS.get(kind, ())}
