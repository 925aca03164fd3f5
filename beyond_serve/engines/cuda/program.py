"""What runs on a GPU, whichever library made it: a network with its weights, and one program per context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from beyond_serve.engines.protocol import TensorSpec


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """
    Attributes:
        input, outputs: with the batch axis first (-1 where it is free) and every other axis known.
        max_batch: the largest batch the file allows (a plan's profile); None if it sets no limit.
        fixed_batch: the only batch it takes; None if it is free.
        precision: what it computes in, "fp32", "bf16", "fp16", "int8", or "mixed" where nobody says.
    """

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    max_batch: int | None
    fixed_batch: int | None
    precision: str


@dataclass(frozen=True, slots=True)
class Buffers:
    """Where a program reads and writes, for as long as it lives: device memory, rows C-contiguous.

    Owned by the context, which has room in each for `batch` rows.
    """

    batch: int
    input: int
    outputs: Mapping[str, int]


class Replay(Protocol):
    """Recorded work. Owned by the context, which closes it before its program."""

    def __call__(self) -> None:
        """Put all of it onto the stream at once, and do not wait for it. Raises CudaError."""
        ...

    def close(self) -> None: ...


class Program(Protocol):
    """A network as one context runs it: bound to that context's stream and buffers, used by its thread.

    Its methods raise CudaError for what CUDA refuses, EngineError for what the library refuses.
    """

    def enqueue(self, rows: int) -> None:
        """Put the network's work for the buffers' first `rows` rows onto the stream, and do not wait for it.

        Allocates nothing once it has run for that number of rows.
        """
        ...

    def capture(self, enqueue: Callable[[], None]) -> Replay:
        """Record what `enqueue` puts onto the stream (the network's work and kernels around it) as a graph.

        `enqueue` has run before, and the stream is at rest.

        Raises:
            CaptureError: it cannot be recorded.
        """
        ...

    def close(self) -> None: ...


class Network(Protocol):
    """Weights on one device, shared by the programs made of them."""

    @property
    def spec(self) -> NetworkSpec: ...

    def program(self, stream: int, buffers: Buffers) -> Program:
        """A program of its own for the context whose stream and buffers these are; called on its thread.

        Raises:
            CudaError: the device has no room for it (cudaErrorMemoryAllocation), or another reason.
            EngineError: the library refuses.
        """
        ...

    def close(self) -> None: ...
