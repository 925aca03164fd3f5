"""One served model: where both transports meet, and where a request's way through the server starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import Admission, Batch, Batcher, Clock, Request
from beyond_serve.engines.group import InstanceGroup
from beyond_serve.engines.protocol import ENCODED, IMAGE, EngineInfo, tensor_key
from beyond_serve.errors import BeyondError, InstanceLostError, InvalidRequestError, ShuttingDownError
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.limits import PixelLimits
from beyond_serve.preprocess.plan import PreprocessPlan
from beyond_serve.server.batch_costs.table import CostTable
from beyond_serve.server.call import Call
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.entrance import Entrance
from beyond_serve.server.fidelity_ladder import FidelityLadder
from beyond_serve.server.gauges import Gauges
from beyond_serve.server.metrics import ModelMetrics
from beyond_serve.server.oip.statistics import ModelStatistics
from beyond_serve.server.sinks import CallSink, TraceSink
from beyond_serve.server.stage import ImageLine
from beyond_serve.server.tensor_preparation import TensorPreparation


class Model:
    """A loaded model with its queue, batcher and instances.

    State: all of it belongs to the event loop; only `close` waits for threads, off the loop.
    Guarantee: every submitted request ends exactly once, whatever happens to instances.
    """

    version = "1"

    def __init__(
        self,
        config: ModelConfig,
        info: EngineInfo,
        *,
        plan: PreprocessPlan | None,
        labels: tuple[str, ...] | None,
        clock: Clock,
        admission: Admission,
        batcher: Batcher,
    ) -> None:
        self.config = config
        self.name = config.name
        self.info = info
        self.plan = plan
        self.labels = labels
        self.closing = False
        self.metrics = ModelMetrics(config.name, Gauges(self, admission))
        self.stats = ModelStatistics()
        self.trace_sink: TraceSink | None = None
        self.span_sink: CallSink | None = None
        self.group: InstanceGroup | None = None
        self.line: ImageLine | None = None
        self.ladder: FidelityLadder | None = None
        self.costs: CostTable | None = None
        self.release: Callable[[], None] | None = None
        self._limits = PixelLimits(max_pixels=config.max_pixels)
        self._image_key = ENCODED if info.takes_encoded else IMAGE
        self._entrance = Entrance(config.name, admission, batcher, clock, round(config.timeout_ms * 1000))
        self._admission = admission
        self.batcher = batcher
        self._tensors = TensorPreparation(self._prepare_tensors)
        self._open_calls = 0
        self._idle: asyncio.Future[None] | None = None

    # What metrics and readiness ask.

    @property
    def ready(self) -> bool:
        return not self.closing and self.instances_alive > 0

    @property
    def why_not_ready(self) -> str:
        """While it is not `ready`: the latest of its instances' failures."""
        error = self.group.last_error if self.group is not None else None
        return "no instance is alive" + (f": {error.message}" if error is not None else "")

    @property
    def capacity(self) -> int:
        return self._admission.capacity

    @property
    def max_batch(self) -> int:
        """The largest batch that is formed."""
        return self.batcher.max_batch

    @property
    def instances_alive(self) -> int:
        return self.group.alive if self.group is not None else 0

    def expected_wait_ns(self) -> int:
        """How long an image that has just got its place is expected to wait, the slower of decoding and
        batching counting. What it takes on an idle server is no waiting, however long it is."""
        ahead = max(self._admission.waiting - 1, 0)
        decoding_ns = self.line.wait_ns(ahead) if self.line is not None else 0
        return max(decoding_ns, self.batcher.wait_ns(ahead) - self.batcher.cost.latency_ns(1))

    def statistics(self) -> dict[str, object]:
        return self.stats.as_dict(self.name, self.version)

    # The way in.

    def submit_images(
        self,
        images: Sequence[bytes],
        *,
        started_ns: int,
        received_ns: int,
        on_done: Callable[[Call], None],
        top_k: int = 0,
        timeout_us: int = 0,
        priority: int = 0,
    ) -> Call:
        """Infer encoded images, at least one; failures come by `on_done`, nothing is raised."""
        call, requests = self._call(
            images, self._image_key, on_done, (started_ns, received_ns), (top_k, timeout_us, priority)
        )
        if self._entrance.admit(requests, len):
            for request in requests:
                self._start_image(request)
        return call

    def submit_tensor(
        self,
        rows: NDArray[np.generic],
        *,
        started_ns: int,
        received_ns: int,
        on_done: Callable[[Call], None],
        top_k: int = 0,
        timeout_us: int = 0,
        priority: int = 0,
    ) -> Call:
        """Infer rows [n, …] of the model's own input; failures come by `on_done`, nothing is raised."""
        key = tensor_key(rows.shape[1:])
        call, requests = self._call(
            list(rows), key, on_done, (started_ns, received_ns), (top_k, timeout_us, priority)
        )
        if self._entrance.admit(requests, _tensor_size):
            now_ns = time.monotonic_ns()
            for request in requests:
                request.trace.admitted = now_ns
            self._tensors.when_ready(lambda error: self._start_tensors(requests, error))
        return call

    def _call(
        self,
        payloads: Sequence[object],
        key: Hashable,
        on_done: Callable[[Call], None],
        span: tuple[int, int],
        options: tuple[int, int, int],
    ) -> tuple[Call, list[Request]]:
        call = Call(on_done, self)
        self._open_calls += 1
        requests = self._entrance.requests(payloads, key, call, span, options)
        call.expect(requests)
        return call, requests

    def _start_image(self, request: Request) -> None:
        if self._image_key is ENCODED:
            request.trace.admitted = time.monotonic_ns()
            # Asked here first: it is asked of every request, and most have no deadline.
            if request.deadline_ns is None or not self._entrance.refuse_late(request):
                self.batcher.enqueue(request)
            return
        try:
            if self.line is None or self.plan is None:
                raise InvalidRequestError(
                    f"model '{self.name}' takes no images", "send its own tensor input to /v2"
                )
            request.header = read_header(request.payload)
            self._limits.check(request.header, self.plan)
        except BeyondError as error:
            request.fail(error)
            return
        request.trace.admitted = time.monotonic_ns()
        line = self.line if self.ladder is None else self.ladder.line_for(request)
        # What waits in another model's line is not known here; its own policy judges.
        if line is not self.line or not self._entrance.refuse_late(request, line):
            line.enqueue(request)

    def _start_tensors(self, requests: list[Request], error: BeyondError | None) -> None:
        if self.closing:
            error = self._stopped()
        for request in requests:
            if error is not None:
                request.fail(error)
            elif not self._entrance.refuse_late(request):
                self.batcher.enqueue(request)

    def _prepare_tensors(self) -> None:
        assert self.group is not None
        self.group.prepare_tensors()

    # What requests and batches report.

    def call_replied(self, call: Call) -> None:
        for request in call.requests:
            if request.error is None:
                self.metrics.succeeded += 1
                self.metrics.stages.record(request.trace)
            else:
                self.metrics.failures[request.error.code] += 1
                self.stats.record_failure(request)
        if self.trace_sink is not None:
            for request in call.requests:
                outcome = "ok" if request.error is None else request.error.code
                self.trace_sink.record(self.name, request.trace, outcome)
        if call.caller is not None and self.span_sink is not None:
            self.span_sink.record(self.name, call)
        self._call_closed()

    def call_cancelled(self, call: Call) -> None:
        for request in call.requests:
            if not request.done:
                self.metrics.cancelled[request.state.name.lower()] += 1
        self._call_closed()

    def _call_closed(self) -> None:
        self._open_calls -= 1
        if self._open_calls == 0 and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def batch_finished(self, batch: Batch) -> None:
        self.metrics.record_batch(batch)
        self.stats.record_batch(batch)

    def instances_changed(self) -> None:
        """With no instance alive nor likely to be soon, nobody is left waiting, and nobody let in."""
        hopeless = self.group is not None and self.group.given_up
        if not self.closing:
            self._entrance.refusal = self._lost() if hopeless else None
        if hopeless:
            self._fail_waiting(self._lost())

    # The end.

    async def drain_and_close(self) -> None:
        """Refuse new requests, answer those accepted, free everything."""
        self._refuse_all()
        if self._open_calls:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        await self.close()

    async def close(self) -> None:
        """Refuse new requests, fail what waits, finish what runs, free everything."""
        self._refuse_all()
        if self.line is not None:
            self.line.fail_waiting(self._stopped())
        self.batcher.stop(self._stopped())
        loop = asyncio.get_running_loop()
        if self.group is not None:
            for instance in self.group.close():
                await loop.run_in_executor(None, instance.close)
        if self.costs is not None:
            await loop.run_in_executor(None, self.costs.save, self.batcher.cost)
        if self.line is not None:
            self.line.close()
        if self.release is not None:
            await loop.run_in_executor(None, self.release)
            self.release = None

    def _refuse_all(self) -> None:
        self.closing = True
        self._entrance.refusal = ShuttingDownError(
            f"model '{self.name}' is being unloaded or the server stops", "retry elsewhere"
        )

    def _stopped(self) -> ShuttingDownError:
        return ShuttingDownError(f"model '{self.name}' was stopped", "retry elsewhere")

    def _lost(self) -> InstanceLostError:
        return InstanceLostError(
            f"no instance of model '{self.name}' is alive", "retry later; the server's log says why"
        )

    def _fail_waiting(self, error: BeyondError) -> None:
        if self.line is not None:
            self.line.fail_waiting(error)
        self.batcher.fail_waiting(error)


def _tensor_size(row: NDArray[np.generic]) -> int:
    return row.nbytes
