"""The real CudaEngine on a fake GPU, with a network and kernels that compute with NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine
from beyond_serve.engines.image_input import image_input
from beyond_serve.preprocess.plan import Normalization
from tests.engines.cuda.fake_network import (
    BYTE_INPUT,
    HEIGHT,
    WIDTH,
    FakeKernels,
    FakeNetwork,
    description,
    expected,
    normalised,
)
from tests.engines.cuda.fake_runtime import FakeRuntime

MAX_BATCH = 6


class World:
    """A runtime, a network on it, and the engine that serves it."""

    def __init__(self, given=BYTE_INPUT, runtime: FakeRuntime | None = None, **network) -> None:
        self.runtime = runtime or FakeRuntime()
        self.network = FakeNetwork(self.runtime, given, **network)
        described = description(given)
        self.image, _ = image_input(described, Normalization(), (HEIGHT, WIDTH))
        config = EngineConfig("net.plan", max_batch=MAX_BATCH, normalization=Normalization())
        self.engine = CudaEngine(
            "fake", config, described, self.runtime, lambda _: self.network, make_kernels=FakeKernels
        )

    def prepared(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.copy() if self.image.datatype == "UINT8" else normalised(pixels, self.image)

    def reference(self) -> Callable[[np.ndarray], np.ndarray]:
        def scores(pixels: np.ndarray) -> np.ndarray:
            values = self.prepared(pixels)
            return expected(values.transpose(0, 3, 1, 2) if self.image.datatype == "UINT8" else values)

        return scores
