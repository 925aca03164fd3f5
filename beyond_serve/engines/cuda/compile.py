"""Compile CUDA C++ for one device, with NVRTC: nothing but a pip package is needed, no toolkit."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from beyond_serve.engines.foreign import one_line, require
from beyond_serve.errors import ModelLoadError

_PACKAGES = "pip install cuda-bindings nvidia-cuda-nvrtc"


@functools.cache
def compile_cubin(source: str, capability: tuple[int, int]) -> bytes:
    """Machine code of `source` (CUDA C++17 that includes nothing) for devices of `capability`, as (9, 0).

    Each is compiled once in a process.

    Raises:
        ModelLoadError: NVRTC is not installed, does not know the device, or refuses the source.
    """
    nvrtc = require("cuda.bindings.nvrtc", "cuda-bindings")
    try:
        architecture = choose_architecture(capability, _checked(nvrtc, nvrtc.nvrtcGetSupportedArchs()))
    except RuntimeError as error:  # cuda-bindings finds the library at the first call
        raise ModelLoadError(f"NVRTC cannot be loaded: {one_line(error)}", _PACKAGES) from error
    return _compiled(nvrtc, source, architecture)


def choose_architecture(capability: tuple[int, int], supported: Sequence[int]) -> str:
    """The newest of `supported` (as 90) that runs on `capability`: of the same major version, and no newer.

    Raises:
        ModelLoadError: there is none.
    """
    major, minor = capability
    wanted = 10 * major + minor
    able = [number for number in supported if number // 10 == major and number <= wanted]
    if able:
        return f"sm_{max(able)}"
    if not supported or wanted > min(supported):
        hint = "pip install -U cuda-bindings nvidia-cuda-nvrtc"
    else:
        hint = 'use an older CUDA: pip install "cuda-bindings<13" nvidia-cuda-nvrtc-cu12'
    raise ModelLoadError(
        f"the installed NVRTC does not compile for devices of capability {major}.{minor}", hint
    )


def _compiled(nvrtc: Any, source: str, architecture: str) -> bytes:
    program = _checked(nvrtc, nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], []))
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            error = _first_error(_log(nvrtc, program), code)
            raise ModelLoadError(
                f"the CUDA kernels do not compile for {architecture}: {error}",
                f"this is a fault of this program or of NVRTC; try another NVRTC: {_PACKAGES}",
            )
        size = _checked(nvrtc, nvrtc.nvrtcGetCUBINSize(program))
        cubin = bytes(size)
        _checked(nvrtc, nvrtc.nvrtcGetCUBIN(program, cubin))
        return cubin
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _log(nvrtc: Any, program: Any) -> str:
    size = _checked(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
    log = bytes(size)
    _checked(nvrtc, nvrtc.nvrtcGetProgramLog(program, log))
    return log.decode("utf-8", "replace").rstrip("\0")


def _first_error(log: str, code: Any) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line)]
    return next(iter(errors or lines), getattr(code, "name", str(code)))


def _checked(nvrtc: Any, outcome: tuple[Any, ...]) -> Any:
    """What an NVRTC call returns beside its code."""
    code, *values = outcome
    if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise ModelLoadError(f"NVRTC failed: {getattr(code, 'name', code)}", _PACKAGES)
    return values[0] if values else None
