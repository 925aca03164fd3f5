"""Run an inference request on a model: what HTTP and gRPC share.

A transport makes an `InferRequest`, calls `prepare_inference` and then `Inference.start`. There is
no task and no future in between: the answer comes by one call of `on_done`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from beyond_serve.batching import Trace
from beyond_serve.errors import BeyondError, EngineError
from beyond_serve.server.call import Call
from beyond_serve.server.caller import Caller
from beyond_serve.server.oip.inputs import Rows, read_rows
from beyond_serve.server.oip.outputs import (
    PlannedOutput,
    make_output,
    make_top_classes,
    plan_outputs,
    plan_top_classes,
)
from beyond_serve.server.oip.served_model import ServedModel
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire.oip import InferRequest, InferResponse
from beyond_serve.wire.parameters import integer_parameter

log = logging.getLogger(__name__)

OnDone = Callable[[InferResponse | BeyondError], None]

# 11 days. What is beyond is no deadline, and timers need not bear it.
LONGEST_TIMEOUT_US = 10**12


def prepare_inference(model: ServedModel, request: InferRequest, regions: RegionTable) -> Inference:
    """Check and decode a request; nothing is queued yet.

    Raises:
        InvalidRequestError: anything in the request that the model or the protocol does not allow.
    """
    top_k = integer_parameter(request.parameters, "top_k", "the request", least=1)
    if top_k is None:
        outputs = plan_outputs(model.info, model.labels, request.outputs)
    else:
        outputs = plan_top_classes(model.info, model.labels, request.outputs, top_k)
    for output in outputs:
        if output.requested.region is not None:
            regions.check(output.requested.region)
    timeout_us = integer_parameter(request.parameters, "timeout", "the request") or 0
    priority = integer_parameter(request.parameters, "priority", "the request") or 0
    rows = read_rows(model, request.inputs, regions)
    return Inference(model, request.id, rows, outputs, regions, min(timeout_us, LONGEST_TIMEOUT_US), priority)


class Inference:
    """One checked request on its way through a model.

    Guarantees: `on_done` is called exactly once, on the event loop, perhaps from inside `start`, and
    never after `cancel`. After it the transport calls `replied` once its reply has left.

    Attributes:
        outputs: what will be answered, in order; known before anything runs.
    """

    __slots__ = (
        "_call",
        "_id",
        "_model",
        "_on_done",
        "_priority",
        "_regions",
        "_rows",
        "_timeout_us",
        "_top_k",
        "outputs",
    )

    def __init__(
        self,
        model: ServedModel,
        request_id: str,
        rows: Rows,
        outputs: tuple[PlannedOutput, ...],
        regions: RegionTable,
        timeout_us: int,
        priority: int,
    ) -> None:
        self.outputs = outputs
        self._model = model
        self._id = request_id
        self._rows: Rows | None = rows
        self._regions = regions
        self._timeout_us = timeout_us
        self._priority = priority
        # Who asks for the best classes is answered them alone.
        self._top_k = outputs[0].top_k if outputs else 0
        self._call: Call | None = None
        self._on_done: OnDone | None = None

    def start(self, *, started_ns: int, received_ns: int, on_done: OnDone, timeout_us: int = 0) -> None:
        """Queue the request; failures come by `on_done`.

        Args:
            started_ns, received_ns: `time.monotonic_ns` of the request's first and last byte.
            timeout_us: the transport's own deadline, from `started_ns`; the earlier of it and the
                request's `timeout` parameter holds. 0 for none.
        """
        rows, self._rows = self._rows, None
        assert rows is not None, "an inference starts once"
        self._on_done = on_done
        if not timeout_us or 0 < self._timeout_us < timeout_us:
            timeout_us = self._timeout_us
        if isinstance(rows, list):
            call = self._model.submit_images(
                rows,
                started_ns=started_ns,
                received_ns=received_ns,
                on_done=self._finish,
                top_k=self._top_k,
                timeout_us=timeout_us,
                priority=self._priority,
            )
        else:
            call = self._model.submit_tensor(
                rows,
                started_ns=started_ns,
                received_ns=received_ns,
                on_done=self._finish,
                top_k=self._top_k,
                timeout_us=timeout_us,
                priority=self._priority,
            )
        self._call = call

    def cancel(self) -> None:
        """The client left: drop what is not running, and answer nobody."""
        self._on_done = None
        if self._call is not None:
            self._call.cancel()

    def replied(self, now_ns: int, caller: Caller | None = None) -> None:
        """The last byte of the reply was handed over at `now_ns`: the traces end. See `Call.replied`."""
        if self._call is not None:
            self._call.replied(now_ns, caller)

    @property
    def trace(self) -> Trace | None:
        """The trace of the request's slowest row, once it has ended."""
        requests = self._call.requests if self._call is not None else []
        traces = [request.trace for request in requests]
        return (
            max(traces, key=lambda trace: trace.borders()[-1])
            if len(traces) > 1
            else next(iter(traces), None)
        )

    def _finish(self, call: Call) -> None:
        self._call = call
        # Let go of it first: it refers to the transport's reply, which refers to this inference.
        on_done, self._on_done = self._on_done, None
        if on_done is None:
            return
        result: InferResponse | BeyondError | None = call.error
        if result is None:
            try:
                result = self._response(call)
            except BeyondError as error:
                result = error
            except Exception as error:
                # The batch's other requests are answered by the caller's loop and must not be lost.
                log.exception("the answer of model '%s' could not be made", self._model.name)
                result = EngineError(f"the answer could not be made ({type(error).__name__})")
        on_done(result)

    def _response(self, call: Call) -> InferResponse:
        if self._top_k:
            tensors = [make_top_classes(self.outputs[0], call.requests)]
        else:
            arrays = call.outputs([output.spec.name for output in self.outputs])
            tensors = [
                make_output(output, arrays[output.spec.name], self._regions) for output in self.outputs
            ]
        return InferResponse(self._model.name, self._model.version, self._id, tuple(tensors))
