"""TensorRT's execution context, computing in a FakeRuntime's memory."""

from __future__ import annotations

import weakref

import numpy as np

from tests.engines.cuda.fake_network import expected
from tests.engines.tensorrt.fake_trt import FakeEngine, Living, Shape


class FakeContext(Living):
    """What an execution context is told, and what it then does on a stream."""

    def __del__(self) -> None:
        super().__del__()
        if self.memory is not None:
            # Raises if it was given back before the context that uses it.
            self.trt.device.view(self.memory[0], np.uint8, (self.memory[1],))

    def __init__(self, engine: FakeEngine) -> None:
        engine.trt.contexts += 1
        super().__init__(engine.trt, f"context {engine.trt.contexts}")
        self.engine = engine
        self.plan = engine.plan
        self.input = next(iter(self.plan.inputs))
        self.profile: int | None = None
        self.shape: Shape | None = None
        self.memory: tuple[int, int] | None = None
        self.addresses: dict[str, int] = {}
        self.changes = 0

    def _fails(self, call: str) -> bool:
        return self.trt.fails(call, self.engine.logger)

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        if self._fails("set_optimization_profile_async"):
            return False
        assert self.shape is None, "shapes come after the profile"
        self.profile = profile
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        assert self.profile is not None
        self.changes += 1
        least, most = (
            self.plan.profiles[self.profile]
            if -1 in self.plan.inputs[name][1]
            else (self.plan.inputs[name][1],) * 2
        )
        inside = all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
        if self._fails("set_input_shape") or not inside:
            return False
        self.shape = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        assert self.shape is not None
        return self.plan.made(self.shape, self.plan.outputs[name][1])

    def update_device_memory_size_for_shapes(self) -> int:
        assert self.shape is not None
        return self.plan.activations(self.shape[0])

    def set_device_memory(self, address: int, size: int) -> None:
        assert address % 256 == 0
        self.changes += 1
        self.memory = address, size

    def set_tensor_address(self, name: str, address: int) -> bool:
        if self._fails("set_tensor_address"):
            return False
        assert isinstance(address, int)
        self.changes += 1
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if self._fails("execute_async_v3"):
            return False
        assert self.shape is not None
        assert set(self.addresses) == set(self.engine.tensors)
        assert self.memory is not None
        assert self.memory[1] >= self.update_device_memory_size_for_shapes()
        as_it_was = self.changes
        # A graph does not keep alive what it was captured from.
        context = weakref.ref(self)

        def work() -> None:
            captured = context()
            assert captured is not None, "a graph outlived what it was captured from"
            assert captured.changes == as_it_was, "what a graph was captured from was changed"
            captured._compute()

        self.trt.device.do(stream, work)
        return True

    def _compute(self) -> None:
        assert self.shape is not None
        assert self.memory is not None
        device = self.trt.device
        device.view(self.memory[0], np.uint8, (self.memory[1],))[:] = 0xEE
        kind = self.plan.inputs[self.input][0]
        rows = device.view(self.addresses[self.input], kind.value, self.shape)
        if self.shape[-1] == 3:
            rows = rows.transpose(0, 3, 1, 2)
        for name, (kind, shape) in self.plan.outputs.items():
            target = device.view(self.addresses[name], kind.value, self.plan.made(self.shape, shape))
            target[:] = expected(rows)[:, : target.shape[1]]
