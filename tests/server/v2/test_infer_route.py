"""What becomes of a request between its handler and its reply."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from beyond_serve.batching import STAGES
from beyond_serve.errors import (
    BeyondError,
    DeadlineExceededError,
    EngineError,
    ImageDecodeError,
    PayloadTooLargeError,
    QueueFullError,
    ShuttingDownError,
)
from beyond_serve.server.caller import Caller
from tests.server.oip.fakes import FakeModel
from tests.server.v2.asking import Asked, Server

INFER = "/v2/models/m/infer"
BODY = json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}).encode()


def start(model: FakeModel, target: str = INFER) -> Asked:
    return Server(model).start("POST", target, BODY)


def test_the_answer_may_come_later() -> None:
    model = FakeModel()
    asked = start(model)
    assert not asked.answered
    model.answer()
    assert asked.reply.status == 200
    assert model.replied == [model.submitted[0].call]
    assert model.submitted[0].call.requests[0].trace.replied == 4000


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (ImageDecodeError("bad"), 422, {}),
        (PayloadTooLargeError("bad"), 413, {}),
        (QueueFullError("bad", retry_after_s=3), 429, {"Retry-After": "3"}),
        (DeadlineExceededError("bad"), 504, {}),
        (ShuttingDownError("bad"), 503, {}),
        (EngineError("bad"), 500, {}),
    ],
)
def test_errors_have_the_tables_status(error: BeyondError, status: int, headers: dict[str, str]) -> None:
    model = FakeModel(answers_at_once=True)
    model.error = error
    asked = start(model)
    assert (asked.reply.status, asked.reply.error) == (status, "bad")
    assert asked.reply.headers == {"Error-Code": error.code, **headers}
    assert len(model.replied) == 1


def test_a_client_that_leaves_cancels_its_requests() -> None:
    model = FakeModel()
    asked = start(model)
    asked.leave()
    assert model.cancelled == [model.submitted[0].call]
    model.answer()
    assert not asked.answered
    assert model.replied == []


def test_a_fault_in_the_answer_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    def complex_scores(count: int) -> Mapping[str, NDArray[Any]]:
        return {"scores": np.zeros((count, 1), np.float32), "features": np.zeros((count, 1), object)}

    model = FakeModel(answers_at_once=True)
    model.outputs = complex_scores
    reply = start(model).reply
    assert reply.status in (400, 500)
    assert "Traceback" not in reply.body.decode()
    assert len(model.replied) == 1


def test_what_was_answered_leaves_nothing_to_the_garbage_collector() -> None:
    """The collector is frozen while the server runs; a cycle per request would be a leak."""
    rounds = 20
    model = FakeModel(answers_at_once=True)
    server = Server(model)
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            assert server.start("POST", f"{INFER}?trace=1", BODY).reply.status == 200
            model.submitted.clear()
            model.replied.clear()
        assert gc.collect() < rounds
    finally:
        if enabled:
            gc.enable()


class TestTrace:
    @pytest.mark.parametrize("value", ["1", "true"])
    def test_on_request(self, value: str) -> None:
        reply = start(FakeModel(answers_at_once=True), f"{INFER}?trace={value}").reply
        trace = reply.json()["parameters"]["trace"]
        assert tuple(trace["stages_us"]) == STAGES
        assert trace["stages_us"]["receive"] == 2.0
        names = [entry.split(";")[0] for entry in reply.headers["Server-Timing"].split(", ")]
        assert names == [*STAGES, "total"]

    def test_on_request_by_a_parameter(self) -> None:
        document = {**json.loads(BODY), "parameters": {"trace": True}}
        reply = Server(FakeModel(answers_at_once=True)).infer(document)
        assert tuple(reply.json()["parameters"]["trace"]["stages_us"]) == STAGES
        assert "Server-Timing" in reply.headers

    def test_not_otherwise(self) -> None:
        reply = start(FakeModel(answers_at_once=True), f"{INFER}?trace=0&other=1").reply
        assert "parameters" not in reply.json()
        assert reply.headers == {}

    def test_with_an_error(self) -> None:
        model = FakeModel(answers_at_once=True)
        model.error = ImageDecodeError("bad")
        assert "Server-Timing" in start(model, f"{INFER}?trace=1").reply.headers


class TestCaller:
    """Who is told to a span sink."""

    PARENT = f"00-{1:032x}-{2:016x}-01"

    def caller(self, headers: dict[str, object], error: BeyondError | None = None) -> Caller | None:
        model = FakeModel(answers_at_once=True)
        model.error = error
        Server(model).infer(json.loads(BODY), headers=headers)
        (call,) = model.replied
        return call.caller

    def test_nobody_without_a_traceparent(self) -> None:
        assert self.caller({"tracestate": "a=1"}) is None

    def test_the_headers_and_the_status(self) -> None:
        caller = self.caller({"traceparent": self.PARENT, "tracestate": "a=1"})
        assert caller == Caller(
            self.PARENT,
            "a=1",
            "POST /v2/models/{name}/infer",
            {
                "http.request.method": "POST",
                "http.route": "/v2/models/{name}/infer",
                "http.response.status_code": 200,
            },
            False,
        )

    @pytest.mark.parametrize(
        ("error", "status", "fault"), [(ImageDecodeError("bad"), 422, False), (EngineError("bad"), 500, True)]
    )
    def test_an_error(self, error: BeyondError, status: int, fault: bool) -> None:
        caller = self.caller({"traceparent": self.PARENT}, error)
        assert caller is not None
        assert (caller.attributes["http.response.status_code"], caller.fault) == (status, fault)
