from __future__ import annotations

import grpc
import pytest

from beyond_serve.client import ServerUnreachableError, UnexpectedReplyError, grpc_codec
from beyond_serve.client.endpoint import parse_endpoint
from beyond_serve.client.errors import CallFailed
from beyond_serve.errors import ImageDecodeError, ModelLoadError, QueueFullError
from beyond_serve.wire.messages import ModelInferResponse

ENDPOINT = parse_endpoint("grpc://h:1")


def test_the_code_in_the_metadata_decides() -> None:
    failed = grpc_codec.failure_of(
        grpc.StatusCode.INVALID_ARGUMENT, "no model", {"error-code": "model_load"}, ENDPOINT
    )

    assert isinstance(failed, CallFailed)
    assert type(failed.error) is ModelLoadError


def test_a_wait_tells_a_full_queue_from_a_large_message() -> None:
    failed = grpc_codec.failure_of(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "no place", {"retry-after": "3"}, ENDPOINT
    )

    assert isinstance(failed, CallFailed)
    assert isinstance(failed.error, QueueFullError)
    assert (failed.retry_after_s, failed.error.retry_after_s) == (3, 3)


@pytest.mark.parametrize(
    "message",
    [
        "the JPEG's header says 4x4, its content 5x5",
        "the WebP is truncated: it ends at byte 9, before its 4x4 pixels are complete",
        "the progressive JPEG has 900 scans; 100 are the limit",
        "the image could not be preprocessed: ValueError: x",
    ],
)
def test_words_of_a_broken_image(message: str) -> None:
    failed = grpc_codec.failure_of(grpc.StatusCode.INVALID_ARGUMENT, message, {}, ENDPOINT)

    assert isinstance(failed, CallFailed)
    assert type(failed.error) is ImageDecodeError


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


def test_server_timing() -> None:
    trace = grpc_codec.parse_server_timing("decode;dur=1.500, odd, infer;dur=2.000;desc=x,total;dur=3.750")

    assert trace is not None
    assert (trace.total_us, trace.residual_us) == (3750, 250)
    assert trace.stages_us == {"decode": 1500, "infer": 2000}
    assert grpc_codec.parse_server_timing("decode;dur=1") is None


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
