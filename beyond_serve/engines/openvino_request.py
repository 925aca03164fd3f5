"""OpenVINO's compiled models and infer requests, wrapped for NumPy rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.batch_axis import Outputs
from beyond_serve.engines.foreign import require

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}


@dataclass(frozen=True, slots=True)
class Compiler:
    """Compiles graphs for `instances` contexts of `threads` threads each.

    A stream runs one request at a time, and the threads of all streams are given together, so that
    instances divide the cores. OpenVINO itself cuts both down to the cores there are. Threads are not
    pinned: decoders and other processes use the same cores, and a pinned thread cannot step aside.
    """

    core: Any
    instances: int
    threads: int

    def compile(self, graph: Any, precision: str) -> Any:
        properties = {
            "NUM_STREAMS": self.instances,
            "INFERENCE_NUM_THREADS": self.instances * self.threads,
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "ENABLE_CPU_PINNING": False,
        }
        return self.core.compile_model(graph, "CPU", properties)


class Request:
    """One infer request. Used by one thread at a time.

    Args:
        names: of the outputs, in the model's order.
    """

    def __init__(self, compiled: Any, names: tuple[str, ...]) -> None:
        self._tensor = require("openvino").Tensor
        self._request = compiled.create_infer_request()
        self._names = names
        self._rows: NDArray[np.generic] | None = None

    def start(self, rows: NDArray[np.generic]) -> None:
        """Infer `rows`, read where they lie, with the GIL released; returns when it is done.

        `outputs` must follow.
        """
        if not (rows.flags.c_contiguous and rows.flags.writeable):
            # OpenVINO wraps writeable memory only.
            rows = np.array(rows, order="C")
        # Neither the tensor nor the request keeps the array alive, and an output may alias it.
        self._rows = rows
        self._request.set_input_tensor(self._tensor(rows, shared_memory=True))
        self._request.infer()

    def outputs(self) -> dict[str, NDArray[np.generic]]:
        """Copies, since the request writes into the same buffers next time."""
        get = self._request.get_output_tensor
        result = {name: np.array(get(index).data) for index, name in enumerate(self._names)}
        self._rows = None
        return result

    def run(self, rows: NDArray[np.generic]) -> Outputs:
        self.start(rows)
        return self.outputs()
