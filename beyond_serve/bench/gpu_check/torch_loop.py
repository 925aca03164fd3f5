"""The same network called by torch itself in a plain loop, with CUDA graphs: what ours is held against."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.preprocess.plan import Normalization

Call = Callable[[Any], Any]
"""From a tensor uint8 [n, H, W, 3] on the device to logits [n, classes]."""


def eager(module: Any, precision: str, normalization: Normalization, index: int) -> Call:
    """The module's own operators in `precision`, channels last, behind normalisation. Takes `module` over."""
    torch = importlib.import_module("torch")
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    device = torch.device("cuda", index) if index >= 0 else torch.device("cpu")
    mean, std = (np.array(values, np.float64) for values in (normalization.mean, normalization.std))
    gain = torch.from_numpy((normalization.scale / std).astype(np.float32)).to(device)
    offset = torch.from_numpy((mean / std).astype(np.float32)).to(device)
    network = module.to(device, dtype).to(memory_format=torch.channels_last)

    def call(rows: Any) -> Any:
        values = rows.to(torch.float32) * gain - offset
        return network(values.to(dtype).permute(0, 3, 1, 2)).to(torch.float32)

    return call


def package(path: Path, index: int) -> Call:
    """A built .pt2 file through torch's own loader."""
    torch = importlib.import_module("torch")
    loaded = torch._inductor.aoti_load_package(str(path), run_single_threaded=True, device_index=index)
    run = loaded.loader.boxed_run
    return lambda rows: run([rows])[0]


def scores(call: Call, pixels: NDArray[np.uint8], index: int) -> NDArray[np.generic]:
    """float32 [n, classes] of images [n, H, W, 3]."""
    torch = importlib.import_module("torch")
    device = torch.device("cuda", index) if index >= 0 else torch.device("cpu")
    with torch.inference_mode():
        result: NDArray[np.generic] = call(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
    return result


class TorchLoop:
    """`call` for one batch as a CUDA graph, its input resident."""

    def __init__(self, call: Call, pixels: NDArray[np.uint8], index: int) -> None:
        torch = importlib.import_module("torch")
        self._torch = torch
        self.batch = len(pixels)
        with torch.cuda.device(index), torch.inference_mode():
            rows = torch.from_numpy(pixels).to(torch.device("cuda", index))
            self._stream = torch.cuda.Stream()
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(3):
                    call(rows)
            self._stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._kept = (rows, call(rows))

    def seconds(self, times: int) -> float:
        """For `times` replays one after the other, until the last has ended."""
        with self._torch.cuda.stream(self._stream):
            started = time.perf_counter()
            for _ in range(times):
                self._graph.replay()
            self._stream.synchronize()
            return time.perf_counter() - started

    def rate(self, times: int) -> float:
        """Rows a second."""
        return times * self.batch / self.seconds(times)

    def close(self) -> None:
        self._graph.reset()
        del self._kept
