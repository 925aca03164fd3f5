"""Answers that a working server does not give."""

from __future__ import annotations

import json
from typing import Any

import pytest

from beyond_serve.client import http_codec
from beyond_serve.client.errors import CallFailed, UnexpectedReplyError
from beyond_serve.client.http_codec import Reply, check_reply
from beyond_serve.errors import InstanceLostError, QueueFullError, ShuttingDownError


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(
        "http://h:1/x", status, {name.replace("_", "-"): value for name, value in headers.items()}, raw
    )


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"<html>Bad Gateway</html>", 502, Content_Type="text/html"),
        reply({"error": "moved"}, 302),
        reply({"detail": "Not Found"}, 404),
        reply(b"", 500),
    ],
)
def test_a_status_of_somebody_else(answer: Reply) -> None:
    with pytest.raises(UnexpectedReplyError, match=f"http://h:1/x answered with status {answer.status}"):
        check_reply(answer)


@pytest.mark.parametrize(("status", "kind"), [(429, QueueFullError), (503, ShuttingDownError)])
def test_a_proxys_refusal_means_what_the_servers_does(status: int, kind: type) -> None:
    with pytest.raises(CallFailed) as caught:
        check_reply(reply(b"busy", status, Retry_After="5"))
    assert type(caught.value.error) is kind
    assert caught.value.retry_after_s == 5


@pytest.mark.parametrize(
    ("code", "kind"), [("instance_lost", InstanceLostError), ("not_known_here", ShuttingDownError)]
)
def test_the_code_in_the_headers_decides_if_it_is_known(code: str, kind: type) -> None:
    with pytest.raises(CallFailed) as caught:
        check_reply(reply({"error": "gone"}, 503, Error_Code=code))
    assert type(caught.value.error) is kind


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (lambda r: http_codec.predictions_of(r, 1), b"no json"),
        (lambda r: http_codec.predictions_of(r, 2), [{"model": "m", "predictions": []}]),
        (lambda r: http_codec.predictions_of(r, 1), {"model": "m"}),
        (lambda r: http_codec.predictions_of(r, 1), [7]),
        (http_codec.metadata_of, {"name": "m"}),
        (http_codec.models_of, {"models": 1}),
        (http_codec.statistics_of, {"model_stats": []}),
        (http_codec.outputs_of, {}),
        (http_codec.outputs_of, {"outputs": [{"name": "a", "datatype": "FP32", "shape": [2], "data": [1]}]}),
        (http_codec.outputs_of, {"outputs": [{"name": "a", "datatype": "??", "shape": [1], "data": [1]}]}),
        (
            http_codec.outputs_of,
            {
                "outputs": [
                    {"name": "a", "datatype": "INT8", "shape": [9], "parameters": {"binary_data_size": 9}}
                ]
            },
        ),
    ],
)
def test_a_body_that_cannot_be_read(read: Any, body: Any) -> None:
    with pytest.raises(UnexpectedReplyError, match="http://h:1/x"):
        read(reply(body))


def test_bytes_that_came_as_json() -> None:
    tensor = {"name": "a", "datatype": "BYTES", "shape": [1, 2], "data": ["x", "é"]}

    assert http_codec.outputs_of(reply({"outputs": [tensor]}))["a"].tolist() == [[b"x", "é".encode()]]
