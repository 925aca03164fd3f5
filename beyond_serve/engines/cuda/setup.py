"""What every context of one engine on one GPU is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from beyond_serve.engines.cuda.memory import PinnedRows
from beyond_serve.engines.cuda.program import Network
from beyond_serve.engines.cuda.runtime import CudaRuntime
from beyond_serve.engines.cuda.tensors import RowLayout, row_layout
from beyond_serve.engines.cuda.work import Capturing
from beyond_serve.engines.image_input import ImageInput
from beyond_serve.engines.protocol import TensorSpec


class DeviceKernels(Protocol):
    """Our own kernels, as `kernels.Kernels` has them; all put work onto a stream and return."""

    def normalise(self, *, source: int, target: int, rows: int, image: ImageInput, stream: int) -> None: ...

    def rank(
        self,
        *,
        scores: int,
        datatype: str,
        rows: int,
        classes: int,
        k: int,
        probabilities: bool,
        top_scores: int,
        top_indices: int,
        stream: int,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Ranking:
    """scores: the output that is ranked. k: how many classes, at most as many as there are."""

    scores: TensorSpec
    classes: int
    k: int
    probabilities: bool


@dataclass(frozen=True, slots=True)
class ContextSetup:
    """
    Attributes:
        image: how the host's rows become the network's input.
        buckets: batch sizes, ascending; a context has room for the last.
        ranking: None if there are no scores, or no kernels.
    """

    runtime: CudaRuntime
    network: Network
    image: ImageInput
    buckets: tuple[int, ...]
    kernels: DeviceKernels | None
    ranking: Ranking | None
    pinned: PinnedRows
    capturing: Capturing

    @property
    def takes_rows(self) -> bool:
        """The network's input is the host's rows as they are, so that nothing goes in front of it."""
        return takes_host_rows(self.image)

    @property
    def input(self) -> RowLayout:
        return row_layout(self.network.spec.input)

    @property
    def outputs(self) -> dict[str, RowLayout]:
        return {spec.name: row_layout(spec) for spec in self.network.spec.outputs}


def takes_host_rows(image: ImageInput) -> bool:
    """uint8 [n, H, W, 3] RGB: normalisation and layout lie inside the network."""
    return image.datatype == "UINT8" and image.layout == "NHWC" and image.channels == 3 and not image.reverse
