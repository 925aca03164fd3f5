"""What CUDA's errors mean for a batch, an instance and a start. Pure.

Codes are cudaError_t's; the driver's CUresult has the same numbers for those named here.
"""

from __future__ import annotations

from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.errors import EngineError, InstanceLostError

OUT_OF_MEMORY = 2
ALREADY_PINNED = 712

_STICKY = frozenset(
    {
        214,  # cudaErrorECCUncorrectable
        220,  # cudaErrorNvlinkUncorrectable
        226,  # cudaErrorContained
        700,  # cudaErrorIllegalAddress
        702,  # cudaErrorLaunchTimeout
        709,  # cudaErrorContextIsDestroyed
        710,  # cudaErrorAssert
        714,  # cudaErrorHardwareStackError
        715,  # cudaErrorIllegalInstruction
        716,  # cudaErrorMisalignedAddress
        717,  # cudaErrorInvalidAddressSpace
        718,  # cudaErrorInvalidPc
        719,  # cudaErrorLaunchFailure
        721,  # cudaErrorTensorMemoryLeak
        999,  # cudaErrorUnknown
    }
)
"""After these every further call in the process fails alike, until the device is reset (CUDA runtime API,
cudaError: "the process must be terminated and relaunched")."""


def is_sticky(code: int) -> bool:
    return code in _STICKY


def for_batch(error: CudaError) -> EngineError | InstanceLostError:
    """The error that a batch fails with: of that batch alone, or of the whole instance."""
    if is_sticky(error.code):
        return InstanceLostError(
            f"the GPU was lost: {error}", "send the request again; if it recurs, run nvidia-smi -q and dmesg"
        )
    if error.code == OUT_OF_MEMORY:
        return EngineError(
            f"the GPU ran out of memory: {error}",
            "give --max-batch a smaller number, or end what else uses the GPU",
        )
    return EngineError(f"CUDA failed: {error}")
