"""On what a figure was measured: it is worth nothing without."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from beyond_serve.bench.gpus import gpu_line
from beyond_serve.engines.cores import available_cores

PACKAGES = (
    "numpy",
    "openvino",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-lean",
    "tensorrt-rtx",
    "torch",
    "cuda-bindings",
    "opencv-python-headless",
    "pillow",
    "simplejpeg",
    "uvloop",
    "grpcio",
    "aiohttp",
)


def machine() -> dict[str, object]:
    """CPU, cores, GPU if there is one, memory, kernel, Python and the packages that matter."""
    gpu = gpu_line()
    return {
        "cpu": _cpu(),
        "cores": available_cores(),
        **({"gpu": gpu} if gpu else {}),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "beyond-bench " + " ".join(sys.argv[1:]),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _memory_gib() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemTotal"):
            return round(int(line.split()[1]) / 1024**2)
    return 0


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
