from __future__ import annotations

import json

import grpc
import pytest

from beyond_serve.client import ServerUnreachableError, UnexpectedReplyError, grpc_codec
from beyond_serve.client.endpoint import parse_endpoint
from beyond_serve.client.errors import CallFailed
from beyond_serve.errors import ModelLoadError, PayloadTooLargeError, QueueFullError
from beyond_serve.wire.messages import ModelInferResponse
from tests.client.fake_server import TOTAL_US, trace_document

ENDPOINT = parse_endpoint("grpc://h:1")


def test_the_code_in_the_metadata_decides() -> None:
    failed = grpc_codec.failure_of(
        grpc.StatusCode.INVALID_ARGUMENT, "no model", {"error-code": "model_load"}, ENDPOINT
    )

    assert isinstance(failed, CallFailed)
    assert type(failed.error) is ModelLoadError


def test_a_full_queue_says_when_to_come_again() -> None:
    trailing = {"error-code": "queue_full", "retry-after": "3"}
    failed = grpc_codec.failure_of(grpc.StatusCode.RESOURCE_EXHAUSTED, "no place", trailing, ENDPOINT)

    assert isinstance(failed, CallFailed)
    assert isinstance(failed.error, QueueFullError)
    assert (failed.retry_after_s, failed.error.retry_after_s) == (3, 3)


@pytest.mark.parametrize("trailing", [{}, {"error-code": "not_known_here"}])
def test_without_a_known_code_the_status_decides(trailing: dict[str, str]) -> None:
    # gRPC's own core refuses what is over the message limit, and sends no code.
    failed = grpc_codec.failure_of(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", trailing, ENDPOINT)

    assert isinstance(failed, CallFailed)
    assert type(failed.error) is PayloadTooLargeError


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses", ServerUnreachableError),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", ServerUnreachableError),
        (grpc.StatusCode.ABORTED, "odd", UnexpectedReplyError),
    ],
)
def test_statuses_that_are_not_the_servers(status: grpc.StatusCode, message: str, kind: type) -> None:
    assert type(grpc_codec.failure_of(status, message, {}, ENDPOINT)) is kind


def test_the_trace_in_the_metadata() -> None:
    trace = grpc_codec.trace_of({"trace": json.dumps(trace_document())}, ENDPOINT.url)

    assert trace is not None
    assert (trace.total_us, trace.batch_size, trace.instance) == (TOTAL_US, 4, "demo-0")
    assert grpc_codec.trace_of({}, ENDPOINT.url) is None


@pytest.mark.parametrize("text", ["no json", "{}", "7"])
def test_a_trace_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UnexpectedReplyError, match="grpc://h:1"):
        grpc_codec.trace_of({"trace": text}, ENDPOINT.url)


def test_answers_that_cannot_be_read() -> None:
    short = ModelInferResponse()
    short.outputs.add(name="a", datatype="FP32", shape=[2])
    with pytest.raises(UnexpectedReplyError, match="grpc://h:1"):
        grpc_codec.outputs_of(short, ENDPOINT.url)
    short.raw_output_contents.append(b"1234")
    with pytest.raises(UnexpectedReplyError):
        grpc_codec.outputs_of(short, ENDPOINT.url)
    with pytest.raises(UnexpectedReplyError):
        grpc_codec.predictions_of(short, 1, None, ENDPOINT.url)
