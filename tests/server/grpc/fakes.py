"""A model and a repository that do what a test says, behind the interface that transports see."""

from __future__ import annotations

import numpy as np

from beyond_serve.batching import Batch, Request, Trace
from beyond_serve.engines.classify import classify
from beyond_serve.engines.protocol import EngineInfo, TensorSpec
from beyond_serve.errors import ModelNotFoundError
from beyond_serve.server.call import Call
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.oip.statistics import ModelStatistics
from beyond_serve.server.repository import ModelStatus

INFO = EngineInfo(
    engine="null",
    precision="fp32",
    device="cpu",
    inputs=(TensorSpec("input", "FP32", (-1, 2, 3)),),
    outputs=(TensorSpec("scores", "FP32", (-1, 3)),),
    image_shape=(4, 4, 3),
    scores="scores",
)


class FakeModel:
    """Answers row r of a request with the scores [r, r + 0.5, r + 0.25], at once or when told.

    Attributes:
        hold: keep calls in `open` until `finish`.
        error: fail calls with it instead.
        given: payloads of every call so far; `timeouts_us`, `priorities` of each.
        open, replied, cancelled: calls by how far they are.
    """

    version = "1"
    capacity = 16
    max_batch = 32
    labels = ("zero", "one", "two")

    def __init__(self, name="digits", info=INFO):
        self.name = name
        self.info = info
        self.config = ModelConfig(name, "null:")
        self.ready = True
        self.hold = False
        self.error = None
        self.given = []
        self.timeouts_us = []
        self.priorities = []
        self.open = []
        self.replied = []
        self.cancelled = []
        self.arrived = None

    def submit_images(self, images, *, started_ns, received_ns, on_done, top_k=0, timeout_us=0, priority=0):
        return self._submit(images, started_ns, received_ns, on_done, top_k, timeout_us, priority)

    def submit_tensor(self, rows, *, started_ns, received_ns, on_done, top_k=0, timeout_us=0, priority=0):
        return self._submit(rows, started_ns, received_ns, on_done, top_k, timeout_us, priority)

    def _submit(self, payloads, started_ns, received_ns, on_done, top_k, timeout_us, priority):
        self.given.append(payloads)
        self.timeouts_us.append(timeout_us)
        self.priorities.append(priority)
        call = Call(on_done, self)
        traces = [Trace(started_ns, received_ns) for _ in payloads]
        call.expect(
            [
                Request(payload, "row", trace, call.request_done, top_k=top_k)
                for payload, trace in zip(payloads, traces, strict=True)
            ]
        )
        self.open.append(call)
        if not self.hold:
            self.finish(call)
        elif self.arrived is not None:
            self.arrived.set()
        return call

    def finish(self, call=None):
        call = call or self.open[0]
        self.open.remove(call)
        if self.error is not None:
            for request in call.requests:
                request.fail(self.error)
            return
        batch = Batch(call.requests, "row", "idle")
        batch.start("digits-0", simulated=False)
        rows = np.arange(len(call.requests), dtype=np.float32)[:, None]
        scores = {"scores": rows + np.array([0, 0.5, 0.25], np.float32)}
        batch.outputs = classify(scores, self.info, batch.top_k)
        batch.finish()

    def call_replied(self, call):
        self.replied.append(call)

    def call_cancelled(self, call):
        self.open.remove(call)
        self.cancelled.append(call)
        if self.arrived is not None:
            self.arrived.set()

    def statistics(self):
        return ModelStatistics().as_dict(self.name, self.version)


class FakeRepository:
    """The models it is given; loading and unloading are noted, or fail with `error`."""

    def __init__(self, *models):
        self.models = list(models)
        self.ready = True
        self.error = None
        self.changes = []

    def get(self, name, version=""):
        for model in self.models:
            if model.name == name and version in ("", model.version):
                return model
        raise ModelNotFoundError(f"there is no model '{name}'", "load it")

    def index(self):
        return [
            *(ModelStatus(model.name, model.version, "READY", "") for model in self.models),
            ModelStatus("absent", "1", "UNAVAILABLE", "unloaded"),
        ]

    async def load(self, name):
        if self.error is not None:
            raise self.error
        self.changes.append(("load", name))

    async def unload(self, name):
        self.changes.append(("unload", name))
