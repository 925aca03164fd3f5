"""Ask NVIDIA's driver what there is, through nothing but the driver: no package, no CUDA context.

Some libraries crash without a driver (TensorRT's lean runtime does), so that this is asked first.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import NamedTuple

from beyond_serve.errors import ModelLoadError


class Driver(NamedTuple):
    """devices: names, in CUDA's order. why_not: what the driver said where there are none."""

    devices: tuple[str, ...]
    why_not: str


@functools.cache
def driver() -> Driver:
    """What libcuda offers this process, with CUDA_VISIBLE_DEVICES heeded. Asked once."""
    library = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return Driver((), f"NVIDIA's driver ({library}) is not installed")
    code = cuda.cuInit(0)
    if code:
        return Driver((), f"NVIDIA's driver cannot be used ({_error_name(cuda, code)})")
    count = ctypes.c_int()
    code = cuda.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        return Driver((), "NVIDIA's driver sees no GPU")
    return Driver(tuple(_name(cuda, index) for index in range(count.value)), "")


def cuda_devices() -> tuple[str, ...]:
    """The names of the GPUs that this process may use; empty where there are none."""
    return driver().devices


def require_device(device: str) -> int:
    """The number of "cuda:N".

    Raises:
        ModelLoadError: there is no driver, or no such device.
    """
    index = int(device.partition(":")[2] or 0)
    found = driver()
    if not found.devices:
        raise ModelLoadError(
            f"the device {device} is not there: {found.why_not}",
            "run nvidia-smi to see what the driver says, or use --device cpu",
        )
    if index >= len(found.devices):
        last = f"cuda:{len(found.devices) - 1}"
        raise ModelLoadError(
            f"the device {device} is not there: this machine has {len(found.devices)}, up to {last}",
            f"use --device {last}, or look at CUDA_VISIBLE_DEVICES",
        )
    return index


def _name(cuda: ctypes.CDLL, index: int) -> str:
    device = ctypes.c_int()
    buffer = ctypes.create_string_buffer(128)
    if cuda.cuDeviceGet(ctypes.byref(device), index) or cuda.cuDeviceGetName(buffer, len(buffer), device):
        return "NVIDIA GPU"
    return buffer.value.decode("utf-8", "replace")


def _error_name(cuda: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    if cuda.cuGetErrorName(code, ctypes.byref(text)) or text.value is None:
        return f"error {code}"
    return text.value.decode("ascii", "replace")
