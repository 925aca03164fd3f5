"""PyTorch's errors on a GPU as CUDA's codes, which say whether a batch, an instance or a start failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from beyond_serve.engines.cuda.errors import OUT_OF_MEMORY
from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.engines.foreign import one_line
from beyond_serve.errors import EngineError


class _Known(NamedTuple):
    code: int
    name: str
    text: str


# cudaGetErrorName's and cudaGetErrorString's words. PyTorch's older errors carry no code, only these.
_KNOWN = tuple(
    _Known(*entry)
    for entry in (
        (OUT_OF_MEMORY, "cudaErrorMemoryAllocation", "out of memory"),
        (214, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"),
        (220, "cudaErrorNvlinkUncorrectable", "uncorrectable NVLink error detected during the execution"),
        (226, "cudaErrorContained", "Invalid access of peer GPU memory over nvlink or a hardware error"),
        (700, "cudaErrorIllegalAddress", "an illegal memory access was encountered"),
        (702, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"),
        (709, "cudaErrorContextIsDestroyed", "context is destroyed"),
        (710, "cudaErrorAssert", "device-side assert triggered"),
        (714, "cudaErrorHardwareStackError", "hardware stack error"),
        (715, "cudaErrorIllegalInstruction", "an illegal instruction was encountered"),
        (716, "cudaErrorMisalignedAddress", "misaligned address"),
        (717, "cudaErrorInvalidAddressSpace", "operation not supported on global/shared address space"),
        (718, "cudaErrorInvalidPc", "invalid program counter"),
        (719, "cudaErrorLaunchFailure", "unspecified launch failure"),
        (721, "cudaErrorTensorMemoryLeak", "tensor memory not completely freed"),
        (900, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
        (901, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
        (999, "cudaErrorUnknown", "unknown error"),
    )
)
_BY_CODE = {known.code: known for known in _KNOWN}
_BY_NAME = {known.name: known for known in _KNOWN}
_CUDA = re.compile(r"(?:CUDA|CUDA driver) error:? ?(.*)", re.IGNORECASE)
_NAME = re.compile(r"\bcudaError[A-Z]\w+")


def translate(torch: Any, error: Exception, call: str) -> CudaError | EngineError:
    """
    Args:
        call: what was being done, in words.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return CudaError(OUT_OF_MEMORY, _BY_CODE[OUT_OF_MEMORY].name, call)
    code = getattr(error, "error_code", None)
    if isinstance(code, int) and code > 0:
        return CudaError(code, _BY_CODE[code].name if code in _BY_CODE else "cudaError", call)
    text = str(error)
    known = _known(text)
    if known is not None:
        return CudaError(known.code, known.name, call)
    return EngineError(f"PyTorch failed ({call}): {one_line(error)}")


def _known(text: str) -> _Known | None:
    if "CUDA out of memory" in text:
        return _BY_CODE[OUT_OF_MEMORY]
    named = _NAME.search(text)
    if named is not None and named[0] in _BY_NAME:
        return _BY_NAME[named[0]]
    said = _CUDA.search(text)
    if said is None:
        return None
    return next((known for known in _KNOWN if known.text in said[1]), None)


@contextmanager
def translated(torch: Any, call: str) -> Iterator[None]:
    """Within it PyTorch's errors become CudaError or EngineError."""
    try:
        yield
    except RuntimeError as error:  # the base of all that PyTorch raises from CUDA
        raise translate(torch, error, call) from error
