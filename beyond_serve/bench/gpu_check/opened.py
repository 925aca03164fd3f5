"""A model that is loaded: as the server has it, and as the device has it."""

from __future__ import annotations

from dataclasses import dataclass

from beyond_serve.engines.cuda.program import Network
from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.engines.protocol import Engine


@dataclass(frozen=True, slots=True)
class Opened:
    """network: the one that `engine` serves, or a second one of the same file."""

    runtime: CudaRuntime
    network: Network
    engine: Engine
