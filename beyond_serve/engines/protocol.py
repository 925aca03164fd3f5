"""What an engine is: one loaded model on one device, and the contexts that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming

IMAGE = "image"
"""Batch key of images that the host decoded: rows are uint8 [H, W, 3], RGB."""

ENCODED = "encoded"
"""Batch key of encoded images that the engine takes as they are: rows are bytes."""


def tensor_key(row_shape: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """Batch key of rows of the model's own tensor input, preprocessed by the client."""
    return ("tensor", tuple(row_shape))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A model's input or output.

    datatype: in the Open Inference Protocol's words (FP32, FP16, UINT8, INT64, BYTES …).
    shape: with the batch axis first; -1 where the size is free.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself once it is loaded.

    Attributes:
        engine: "openvino", "onnxruntime", "null", "sim" …
        precision: what really runs: "fp32", "tf32", "bf16", "fp16", "int8", "mixed".
        device: "cpu", "cuda:0" …
        inputs: the model's own tensor inputs, as a client that preprocesses itself sees them.
        outputs: the model's outputs.
        image_shape: (H, W, 3) of a decoded row, or None if the engine takes no host-decoded image.
        takes_encoded: the engine takes encoded bytes as they are.
        fixed_batch: the model's batch size if it cannot vary.
        max_batch: the largest batch the model's file allows; None if it sets no limit.
        ranks: up to so many best classes its contexts find by themselves (`RankingContext`); 0 if they don't.
        scores: which output holds class scores, None if the model is no classifier.
        scores_are_probabilities: the graph already ends in a softmax.
        simulated: answers are made up; everything that comes from it says so.
        inline: infer takes microseconds and may run on the event loop, without a thread.
        batch_ns: (batch size, nanoseconds) known without measuring: of an emulated accelerator.
        warnings: what the user should know, one line each (a precision given up, no batching …).
    """

    engine: str
    precision: str
    device: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    image_shape: tuple[int, int, int] | None = None
    takes_encoded: bool = False
    fixed_batch: int | None = None
    max_batch: int | None = None
    ranks: int = 0
    scores: str | None = None
    scores_are_probabilities: bool = False
    simulated: bool = False
    inline: bool = False
    batch_ns: tuple[tuple[int, float], ...] = ()
    warnings: tuple[str, ...] = field(default=())


class BatchRows(Protocol):
    """The rows of one batch, wherever they lie.

    `key` is a batch key as above. A row is uint8 [H, W, 3] (IMAGE), bytes (ENCODED) or an array of
    the model's input dtype without the batch axis (tensor). Rows may be read only until `infer` returns.
    """

    @property
    def key(self) -> object: ...

    def __len__(self) -> int: ...

    def stacked(self) -> NDArray[np.generic]:
        """All rows as one C-contiguous array [n, …]: a view where they lie side by side, else gathered."""
        ...

    def rows(self) -> Sequence[NDArray[np.generic] | bytes]: ...

    def runs(self) -> Sequence[NDArray[np.generic]]:
        """The rows in order as C-contiguous arrays [m, …], as few as can be had without copying."""
        ...


class ExecutionContext(Protocol):
    """Runs one batch at a time; used by one thread only, the one of its instance."""

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Mapping[str, NDArray[np.generic]]:
        """Run the batch and return every output as an array [n, …] that the caller may keep.

        Must stamp `timing.copied_in`, `.inferred` and `.copied_out` with `time.monotonic_ns`.

        Raises:
            EngineError: the batch failed; the context can be used again.
            InstanceLostError: the context is dead.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class RankingContext(Protocol):
    """A context that ranks classes where the scores are, so that they need not be copied."""

    def rank(
        self, batch: BatchRows, timing: BatchTiming, top_k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Run the batch as `infer` does, and return what `classify` would make of its scores: probabilities
        and indices of the `top_k` best classes, each [n, min(top_k, classes)], NaN in rows whose scores are
        not finite. `top_k` is 1 to `EngineInfo.ranks`. Raises as `infer`."""
        ...


class Engine(Protocol):
    """One loaded model. Weights are shared by its contexts. Loading happens in the constructor's caller."""

    @property
    def info(self) -> EngineInfo: ...

    def create_context(self) -> ExecutionContext:
        """A new context; called on the thread that will use it."""
        ...

    def adopt_rows(self, rows: NDArray[np.uint8]) -> None:
        """The memory [count, H, W, 3] that image rows will lie in, for as long as the engine lives; an
        engine on a GPU pins it. Called at most once, off the event loop, before the first batch."""
        ...

    def prepare_tensors(self) -> None:
        """Make ready for tensor batches (compile the graph without preprocessing). Blocks, idempotent.

        Called once, off the event loop, before the first tensor batch.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class LosableEngine(Protocol):
    """An engine whose device can be lost to the whole process, as CUDA's are after a sticky error."""

    @property
    def lost(self) -> bool:
        """It runs nothing any more, and has given back what it had on the device, which another process may
        use. Never False again."""
        ...
