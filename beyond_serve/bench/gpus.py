"""The GPUs of a machine in one line, without a CUDA context."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from beyond_serve.engines.cuda.probe import cuda_devices


def gpu_line(names: Sequence[str] | None = None, nvml: Any = None) -> str:
    """As in "2 x NVIDIA H200 (140 GiB), driver 580.95.05"; "" where this process may use none.

    Memory and driver are said where the package nvidia-ml-py is installed.

    Args:
        names: of the GPUs; None asks the driver.
        nvml: the module pynvml, or what stands for it; None imports it if it is there.
    """
    found = cuda_devices() if names is None else names
    if not found:
        return ""
    memory_gib, version = _asked(nvml or _pynvml())
    cards = [f"{name} ({memory_gib[name]} GiB)" if name in memory_gib else name for name in found]
    counted = [f"{count} x {card}" if count > 1 else card for card, count in Counter(cards).items()]
    return ", ".join([*counted, *([f"driver {version}"] if version else [])])


def _pynvml() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _asked(nvml: Any) -> tuple[dict[str, int], str]:
    """GiB of memory by the GPU's name, and the driver's version; empty if they cannot be had."""
    if nvml is None:
        return {}, ""
    memory_gib: dict[str, int] = {}
    try:
        nvml.nvmlInit()
        version = _text(nvml.nvmlSystemGetDriverVersion())
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory_gib[_text(nvml.nvmlDeviceGetName(handle))] = round(
                nvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30
            )
    except nvml.NVMLError:
        return {}, ""
    return memory_gib, version


def _text(value: str | bytes) -> str:
    # Older versions of the package give bytes.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
