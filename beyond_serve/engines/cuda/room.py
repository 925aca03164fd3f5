"""Say that a GPU is full, with its figures."""

from __future__ import annotations

from beyond_serve.engines.cuda.runtime import CudaError, CudaRuntime
from beyond_serve.errors import ModelLoadError


def no_room(what: str, runtime: CudaRuntime, hint: str) -> ModelLoadError:
    try:
        free, total = runtime.memory()
        room = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB are free"
    except CudaError as error:
        room = f"how much is free cannot be asked: {error}"
    return ModelLoadError(f"{what} on {runtime.facts.name} (cuda:{runtime.facts.index}): {room}", hint)
