"""A served model without queue, engine or images: what it is given waits until the test answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import Batch, Request, Trace
from beyond_serve.engines.classify import classify
from beyond_serve.engines.protocol import EngineInfo, TensorSpec
from beyond_serve.errors import BeyondError, ModelNotFoundError
from beyond_serve.server.call import Call
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.repository import ModelStatus

SCORES = TensorSpec("scores", "FP32", (-1, 3))
FEATURES = TensorSpec("features", "INT64", (-1, 2))
PIXELS = TensorSpec("pixels", "FP32", (-1, 3, 2, 2))


def engine_info(**changes: Any) -> EngineInfo:
    """Takes images and its own tensor; answers scores and features."""
    base: dict[str, Any] = {
        "engine": "openvino",
        "precision": "bf16",
        "device": "cpu",
        "inputs": (PIXELS,),
        "outputs": (SCORES, FEATURES),
        "image_shape": (2, 2, 3),
        "scores": "scores",
    }
    return EngineInfo(**(base | changes))


class Submitted:
    """What one submit was given."""

    def __init__(self, rows: Any, options: dict[str, Any], call: Call) -> None:
        self.rows = rows
        self.options = options
        self.call = call


class FakeModel:
    """`ServedModel` whose rows answer `outputs(n)`, or `error`; at once if `answers_at_once`."""

    version = "1"

    def __init__(
        self,
        info: EngineInfo | None = None,
        *,
        name: str = "m",
        labels: tuple[str, ...] | None = ("ant", "bee", "cow"),
        answers_at_once: bool = False,
    ) -> None:
        self.name = name
        self.config = ModelConfig(name, "fake:", max_batch=8, max_delay_us=500, instances=2)
        self.info = info or engine_info()
        self.labels = labels
        self.ready = True
        self.capacity = 16
        self.max_batch = 8
        self.answers_at_once = answers_at_once
        self.submitted: list[Submitted] = []
        self.replied: list[Call] = []
        self.cancelled: list[Call] = []
        self.error: BeyondError | None = None
        self.outputs: Callable[[int], Mapping[str, NDArray[Any]]] = default_outputs

    def submit_images(
        self, images: Sequence[bytes], *, on_done: Callable[[Call], None], **options: Any
    ) -> Call:
        assert isinstance(images, list)
        return self._submit(images, on_done, options)

    def submit_tensor(
        self, rows: NDArray[np.generic], *, on_done: Callable[[Call], None], **options: Any
    ) -> Call:
        assert isinstance(rows, np.ndarray)
        return self._submit(rows, on_done, options)

    def _submit(self, rows: Any, on_done: Callable[[Call], None], options: dict[str, Any]) -> Call:
        call = Call(on_done, self)
        started, received, top_k = options["started_ns"], options["received_ns"], options.get("top_k", 0)
        call.expect(
            [Request(row, "key", Trace(started, received), call.request_done, top_k=top_k) for row in rows]
        )
        self.submitted.append(Submitted(rows, options, call))
        if self.answers_at_once:
            self.answer()
        return call

    def answer(self) -> None:
        """End the call submitted last."""
        requests = [request for request in self.submitted[-1].call.requests if not request.done]
        batch = Batch(requests, "key", "full")
        batch.start("fake", simulated=False)
        batch.error = self.error
        batch.outputs = classify(self.outputs(len(requests)), self.info, batch.top_k)
        batch.item_errors = batch.outputs.row_errors
        batch.finish()

    def call_replied(self, call: Call) -> None:
        self.replied.append(call)

    def call_cancelled(self, call: Call) -> None:
        self.cancelled.append(call)

    def statistics(self) -> dict[str, object]:
        return {"name": self.name, "version": self.version, "inference_count": len(self.replied)}


def default_outputs(count: int) -> dict[str, NDArray[Any]]:
    """Row i: scores 0.5, 0.25 + i and -1, features i and 10 i."""
    rows = np.arange(count)
    scores = np.stack([np.full(count, 0.5), 0.25 + rows, np.full(count, -1.0)], 1).astype(np.float32)
    return {"scores": scores, "features": np.stack([rows, 10 * rows], 1).astype(np.int64)}


class FakeRepository:
    """Holds the models it is given; loads and unloads are noted, and fail with `error` if set."""

    def __init__(self, *models: FakeModel) -> None:
        self.models = list(models)
        self.ready = True
        self.changes: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def get(self, name: str, version: str = "") -> FakeModel:
        for model in self.models:
            if model.name == name and version in ("", model.version):
                return model
        raise ModelNotFoundError(f"there is no model '{name}'", "this server knows others")

    def index(self) -> list[ModelStatus]:
        return [
            *(ModelStatus(model.name, "1", "READY", "") for model in self.models),
            ModelStatus("gone", "1", "UNAVAILABLE", "unloaded"),
        ]

    async def load(self, name: str) -> None:
        await self._change("load", name)

    async def unload(self, name: str) -> None:
        await self._change("unload", name)

    async def _change(self, what: str, name: str) -> None:
        self.changes.append((what, name))
        if self.error is not None:
            raise self.error
