"""An engine on one GPU, for any library's networks: what contexts share, and what if the device is lost."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.buckets import batch_buckets
from beyond_serve.engines.cuda.context import CudaContext
from beyond_serve.engines.cuda.errors import ALREADY_PINNED, OUT_OF_MEMORY, for_batch
from beyond_serve.engines.cuda.facts import cuda_info, ranking_of
from beyond_serve.engines.cuda.memory import PinnedRows
from beyond_serve.engines.cuda.program import Network
from beyond_serve.engines.cuda.room import no_room
from beyond_serve.engines.cuda.runtime import CudaError, CudaRuntime
from beyond_serve.engines.cuda.setup import ContextSetup, DeviceKernels, takes_host_rows
from beyond_serve.engines.cuda.work import Capturing
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.image_input import image_input
from beyond_serve.errors import EngineError, InstanceLostError, ModelLoadError

log = logging.getLogger(__name__)

OpenNetwork = Callable[[CudaRuntime], Network]
LOST_HINT = "a new process can use it again: restart the server, or run it with --instance-kind process"

MakeKernels = Callable[[CudaRuntime], DeviceKernels]


def own_kernels(runtime: CudaRuntime) -> DeviceKernels:
    """Our kernels, compiled for the device."""
    from beyond_serve.engines.cuda.kernels import Kernels

    return Kernels(runtime)


class CudaEngine:
    """One network's weights on one device, and the contexts that run it.

    Contexts start one after the other: a graph is captured while no other context of the engine starts.

    A sticky error loses the device for the whole process. Libraries keep state on it that no reset brings
    back, so the engine stays lost: when a context of its is closed, it ends the others and gives the device's
    memory back, for a process that takes over.

    Args:
        open_network: loads the weights; may raise ModelLoadError.
        make_kernels: may raise ModelLoadError; the engine then does without where it can.

    Raises:
        ModelLoadError: the network cannot be loaded or does not fit the model's description or the config.
    """

    def __init__(
        self,
        name: str,
        config: EngineConfig,
        description: ModelDescription,
        runtime: CudaRuntime,
        open_network: OpenNetwork,
        *,
        make_kernels: MakeKernels = own_kernels,
    ) -> None:
        self._config = config
        self.runtime = runtime
        self._open_network = open_network
        self._make_kernels = make_kernels
        self._lock = threading.Lock()
        self._contexts: list[CudaContext] = []
        self._pinned = PinnedRows()
        self._rows: NDArray[np.uint8] | None = None
        self._capturing = Capturing()
        self._lost: CudaError | None = None
        self._image, warnings = image_input(description, config.normalization, config.image_size)
        self._kernels: DeviceKernels | None = None
        network, more = self._load()
        self._network: Network | None = network
        spec = network.spec
        largest = min(config.max_batch, spec.max_batch or config.max_batch)
        self._buckets = batch_buckets(largest, spec.fixed_batch)
        self._ranking = ranking_of(description, spec) if self._kernels is not None else None
        self.info = cuda_info(
            name, description, spec, self._image, runtime.facts, self._ranking, (*warnings, *more)
        )

    def _load(self) -> tuple[Network, tuple[str, ...]]:
        """Kernels and network; also what the user should know."""
        runtime = self.runtime
        warnings: tuple[str, ...] = ()
        try:
            runtime.bind()
            try:
                self._kernels = self._make_kernels(runtime)
            except ModelLoadError as error:
                if not takes_host_rows(self._image):
                    raise
                warnings = (f"classes are ranked on the CPU: {error.message}",)
            return self._open_network(runtime), warnings
        except CudaError as error:
            raise self._load_error(error) from error

    def _load_error(self, error: CudaError) -> ModelLoadError:
        if error.code == OUT_OF_MEMORY:
            return no_room(
                "the model's weights do not fit", self.runtime, "use a smaller model, or --precision"
            )
        return ModelLoadError(
            f"'{self._config.source}' cannot be loaded on the GPU: {error}", "see nvidia-smi for its state"
        )

    def create_context(self) -> CudaContext:
        """
        Raises:
            ModelLoadError: there is no room for it; says which batch would fit.
            InstanceLostError: the device is lost and stays so.
            EngineError: the engine is closed, or the library refuses.
        """
        with self._lock:
            if self._lost is not None:
                raise InstanceLostError(
                    f"{self.info.device} is lost to this process: {self._lost}", LOST_HINT
                )
            if self._network is None:
                raise EngineError("the engine is closed")
            self._contexts = [context for context in self._contexts if not context.closed]
            setup = self._setup(self._buckets)
            try:
                context = CudaContext(setup, lost=self._device_lost, closed=self._context_closed)
            except CudaError as error:
                raise self._no_context(error) from error
            self._contexts.append(context)
            return context

    def _setup(self, buckets: tuple[int, ...]) -> ContextSetup:
        assert self._network is not None
        return ContextSetup(
            self.runtime,
            self._network,
            self._image,
            buckets,
            self._kernels,
            self._ranking,
            self._pinned,
            self._capturing,
        )

    def _no_context(self, error: CudaError) -> EngineError | InstanceLostError | ModelLoadError:
        if error.code != OUT_OF_MEMORY:
            failure = for_batch(error)
            if isinstance(failure, InstanceLostError):
                self._lost = error
                self._give_up(error)
            return failure
        largest = self._buckets[-1]
        fits = next((rows for rows in reversed(self._buckets[:-1]) if self._has_room(rows)), None)
        what = f"an instance with batches of {largest} does not fit beside {len(self._contexts)} others"
        if fits is None:
            return no_room(what, self.runtime, "give --instances a smaller number, or use a smaller model")
        return no_room(what, self.runtime, f"use --max-batch {fits}, which would fit, or fewer --instances")

    def _has_room(self, rows: int) -> bool:
        """Try: nobody else knows what a library takes for a batch."""
        buckets = tuple(size for size in self._buckets if size <= rows)
        try:
            CudaContext(self._setup(buckets), graphs=False).close()
        except (CudaError, EngineError):
            return False
        return True

    def _device_lost(self, error: CudaError) -> None:
        log.error("%s on %s is lost: %s", self.runtime.facts.name, self.info.device, error)
        self._lost = error

    @property
    def lost(self) -> bool:
        return self._lost is not None

    def _context_closed(self) -> None:
        with self._lock:
            if self._lost is not None and self._network is not None:
                self._give_up(self._lost)

    def _give_up(self, error: CudaError) -> None:
        """Other instances notice at their next batch."""
        for context in self._contexts:
            context.abandon(for_batch(error))
        self._contexts.clear()
        self._release()
        with contextlib.suppress(CudaError):
            self.runtime.reset()

    def adopt_rows(self, rows: NDArray[np.uint8]) -> None:
        """Pin them, for all devices; where that is refused, rows go through a pinned buffer, which costs a
        copy. Of several devices' engines the first pins."""
        with self._lock:
            try:
                self.runtime.bind()
                self.runtime.pin(rows.reshape(-1))
                self._rows = rows
            except CudaError as error:
                if error.code != ALREADY_PINNED:
                    log.warning(
                        "%d MB of image rows could not be pinned: %s", rows.nbytes // 1_000_000, error
                    )
                    return
            self._pinned.adopt(rows)

    def prepare_tensors(self) -> None:
        """Nothing to prepare: a batch size's first tensors run call by call, and are captured then."""

    def _release(self) -> None:
        self._pinned.drop()
        self._kernels = None
        network, self._network = self._network, None
        if network is not None:
            network.close()

    def close(self) -> None:
        with self._lock:
            with contextlib.suppress(CudaError):
                self.runtime.bind()
            for context in self._contexts:
                context.abandon(EngineError("the engine is closed"))
            self._contexts.clear()
            if self._rows is not None and self._network is not None:
                with contextlib.suppress(CudaError):
                    self.runtime.unpin(self._rows.reshape(-1))
            self._rows = None
            self._release()
