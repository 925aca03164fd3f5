"""A context's buffers, on the device and pinned on the host, and what moves between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.cuda.memory import ContextMemory, RowUpload
from beyond_serve.engines.cuda.program import Buffers
from beyond_serve.engines.cuda.setup import ContextSetup
from beyond_serve.engines.cuda.tensors import Array


class DeviceRows:
    """Room for the largest bucket in every buffer, from start to end.

    Attributes:
        buffers: the network's input and outputs.
        images_at: where the host's image rows go; the network's own input if it takes them as they are.

    Raises:
        CudaError: there is no room; nothing is kept.
    """

    def __init__(self, setup: ContextSetup) -> None:
        self._setup = setup
        self._memory = ContextMemory(setup.runtime)
        try:
            self._allocate(setup)
        except BaseException:
            self._memory.close()
            raise

    def _allocate(self, setup: ContextSetup) -> None:
        memory, largest = self._memory, setup.buckets[-1]
        image_bytes = int(np.prod(setup.image.host_shape))
        self._layouts = setup.outputs
        self.buffers = Buffers(
            largest,
            memory.device(largest * setup.input.nbytes),
            {name: memory.device(largest * layout.nbytes) for name, layout in self._layouts.items()},
        )
        self.images_at = self.buffers.input if setup.takes_rows else memory.device(largest * image_bytes)
        self._on_host = {
            name: memory.pinned(largest * layout.nbytes) for name, layout in self._layouts.items()
        }
        staging = memory.pinned(largest * max(image_bytes, setup.input.nbytes))
        self._staging = staging
        self._upload = RowUpload(setup.runtime, setup.pinned, staging)
        if setup.ranking is not None:
            top_bytes = largest * setup.ranking.k * 4
            self._top_at = (memory.device(top_bytes), memory.device(top_bytes))
            self._top = (memory.pinned(top_bytes), memory.pinned(top_bytes))

    def clear(self, stream: int) -> None:
        """Zeros in the input: what a buffer holds before its first batch must not be NaN to a network."""
        setup, largest = self._setup, self._setup.buckets[-1]
        self._staging[:] = 0
        address = self._staging.ctypes.data
        setup.runtime.upload(self.buffers.input, address, largest * setup.input.nbytes, stream)
        image_bytes = int(np.prod(setup.image.host_shape))
        setup.runtime.upload(self.images_at, address, largest * image_bytes, stream)
        setup.runtime.synchronize(stream)

    def upload(self, runs: Sequence[Array], target: int, stream: int) -> None:
        """Rows to `images_at` or `buffers.input`."""
        self._upload.enqueue(runs, target, stream)

    def normalise(self, rows: int, stream: int) -> None:
        """From the host's rows to the network's input, if there is anything to do."""
        setup = self._setup
        if not setup.takes_rows:
            assert setup.kernels is not None
            setup.kernels.normalise(
                source=self.images_at, target=self.buffers.input, rows=rows, image=setup.image, stream=stream
            )

    def rank(self, rows: int, stream: int) -> None:
        """The best classes of the network's scores, if it has any."""
        setup, ranking = self._setup, self._setup.ranking
        if ranking is not None:
            assert setup.kernels is not None
            setup.kernels.rank(
                scores=self.buffers.outputs[ranking.scores.name],
                datatype=ranking.scores.datatype,
                rows=rows,
                classes=ranking.classes,
                k=ranking.k,
                probabilities=ranking.probabilities,
                top_scores=self._top_at[0],
                top_indices=self._top_at[1],
                stream=stream,
            )

    def fetch_outputs(self, rows: int, stream: int) -> None:
        """All outputs to the host, once the stream comes to it."""
        for name, layout in self._layouts.items():
            target, source = self._on_host[name], self.buffers.outputs[name]
            self._setup.runtime.download(target.ctypes.data, source, rows * layout.nbytes, stream)

    def outputs(self, rows: int) -> dict[str, Array]:
        """What `fetch_outputs` fetched, as arrays [rows, …] of their own."""
        return {name: layout.rows(self._on_host[name], rows) for name, layout in self._layouts.items()}

    def fetch_ranks(self, rows: int, stream: int) -> None:
        """What `rank` found to the host, once the stream comes to it."""
        ranking = self._setup.ranking
        assert ranking is not None
        for target, source in zip(self._top, self._top_at, strict=True):
            self._setup.runtime.download(target.ctypes.data, source, rows * ranking.k * 4, stream)

    def ranks(self, rows: int, top_k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """What `fetch_ranks` fetched: [rows, min(top_k, classes)] probabilities and indices."""
        ranking = self._setup.ranking
        assert ranking is not None
        nbytes, shape = rows * ranking.k * 4, (rows, ranking.k)
        scores = self._top[0][:nbytes].view(np.float32).reshape(shape)[:, :top_k].copy()
        indices = self._top[1][:nbytes].view(np.int32).reshape(shape)[:, :top_k].astype(np.int64)
        return scores, indices

    def close(self) -> None:
        self._memory.close()
