"""Our kernels on one device: pixels into a network's input, scores into the best classes.

Calls only put work onto a stream, allocate nothing and wait for nothing, so that a graph can record them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from ctypes import c_float, c_int, c_uint, c_void_p
from importlib.resources import files

from beyond_serve.engines.cuda.compile import compile_cubin
from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.engines.image_input import LUMA, ImageInput

RANKS = 16
"""The most classes that `rank` finds. Each costs a reduction over the block."""

NORMALISED = ("FP32", "FP16", "UINT8")
RANKED = ("FP32", "FP16", "BF16")
NAMES = (
    *(f"normalise_{kind}_{datatype.lower()}" for kind in ("nchw", "nhwc", "grey") for datatype in NORMALISED),
    *(f"rank_{datatype.lower()}" for datatype in RANKED),
)
"""Every kernel in kernels.cu."""

_THREADS = 256
_MOST_THREADS = 1024
_MANY_CLASSES = 16384
_GRID_LIMIT = 65535
_WARP = 32

Compile = Callable[[str, tuple[int, int]], bytes]


class Kernels:
    """The kernels, loaded on `runtime`'s device; any thread bound to it may use them."""

    def __init__(self, runtime: CudaRuntime, compile_source: Compile = compile_cubin) -> None:
        """
        Args:
            compile_source: makes the device's machine code of CUDA C++ and (major, minor).

        Raises:
            ModelLoadError: the kernels cannot be compiled here.
            CudaError: the device does not take them.
        """
        self._runtime = runtime
        cubin = compile_source(kernel_source(), runtime.facts.capability)
        self._functions = runtime.load_kernels(cubin, NAMES)

    def normalise(self, *, source: int, target: int, rows: int, image: ImageInput, stream: int) -> None:
        """Turn images into the network's input, to the last bit as `graph.with_image_input` does in ONNX.

        Args:
            source: uint8 [rows, H, W, 3], RGB, aligned to 4 bytes.
            target: [rows, 3 or 1, H, W] or [rows, H, W, 3 or 1] as `image` says, aligned to 16 bytes.

        Raises:
            CudaError: the launch is refused.
        """
        kind = "grey" if image.channels == 1 else image.layout.lower()
        pixels = image.size[0] * image.size[1]
        # Four values a thread: of one plane, or as they lie.
        threads = -(-(3 * pixels if kind == "nhwc" else pixels) // 4)
        self._runtime.launch_kernel(
            self._functions[f"normalise_{kind}_{image.datatype.lower()}"],
            (-(-threads // _THREADS), min(rows, _GRID_LIMIT), 1),
            (_THREADS, 1, 1),
            [
                (source, c_void_p),
                (target, c_void_p),
                (rows, c_int),
                (pixels, c_uint),
                (int(image.reverse), c_int),
                *((value, c_float) for value in _weights(image)),
            ],
            stream,
        )

    def rank(
        self,
        *,
        scores: int,
        datatype: str,
        rows: int,
        classes: int,
        k: int,
        probabilities: bool,
        top_scores: int,
        top_indices: int,
        stream: int,
    ) -> None:
        """Find each row's best classes, as `classify` does.

        Args:
            scores: [rows, classes] of `datatype`, one of RANKED.
            k: 1 to RANKS, and no more than `classes`.
            probabilities: the scores are that already; else softmax, or a sigmoid where there is one class.
            top_scores: float32 [rows, k], falling; NaN in rows whose largest score is not finite.
            top_indices: int32 [rows, k]; equal scores in the order of their index.

        Raises:
            CudaError: the launch is refused.
        """
        _check_ranks(k, classes)
        self._runtime.launch_kernel(
            self._functions[f"rank_{datatype.lower()}"],
            (rows, 1, 1),
            (rank_threads(classes), 1, 1),
            [
                (scores, c_void_p),
                (classes, c_uint),
                (k, c_int),
                (int(probabilities), c_int),
                (top_scores, c_void_p),
                (top_indices, c_void_p),
            ],
            stream,
        )


@functools.cache
def kernel_source() -> str:
    """kernels.cu."""
    return files(__package__).joinpath("kernels.cu").read_text("utf-8")


def rank_threads(classes: int) -> int:
    """A block for one row of `classes`: whole warps, and many only where each has much to read."""
    if classes > _MANY_CLASSES:
        return _MOST_THREADS
    return min(_THREADS, -(-classes // _WARP) * _WARP)


def _check_ranks(k: int, classes: int) -> None:
    """Raises ValueError if the kernel cannot find so many of `classes`."""
    most = min(RANKS, classes)
    if not 1 <= k <= most:
        raise ValueError(f"k is {k}; 1 to {most} can be ranked")


def _weights(image: ImageInput) -> tuple[float, ...]:
    """The kernel's last arguments: gains and offsets, and luma for a grey model."""
    if image.gain is not None and image.offset is not None:
        affine = (*map(float, image.gain), *map(float, image.offset))
    elif image.channels == 1:
        affine = (1.0, -0.5)  # becoming a byte cuts off, so half a level first
    else:
        affine = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
    return (*affine, *LUMA) if image.channels == 1 else affine
