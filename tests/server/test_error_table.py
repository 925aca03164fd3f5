"""The table of errors is whole and says what design.md promises."""

from __future__ import annotations

import inspect
import json

import pytest

from beyond_serve import errors
from beyond_serve.server import error_table
from beyond_serve.server.error_table import (
    error_body,
    grpc_code,
    grpc_details,
    http_headers,
    http_status,
    oip_error_body,
)

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.BeyondError) and kind.__module__ == errors.__name__
]

PROMISED = {
    errors.InvalidRequestError: (400, "INVALID_ARGUMENT"),
    errors.UnauthorizedError: (401, "UNAUTHENTICATED"),
    errors.ModelNotFoundError: (404, "NOT_FOUND"),
    errors.PayloadTooLargeError: (413, "RESOURCE_EXHAUSTED"),
    errors.UnsupportedImageError: (415, "INVALID_ARGUMENT"),
    errors.ImageDecodeError: (422, "INVALID_ARGUMENT"),
    errors.QueueFullError: (429, "RESOURCE_EXHAUSTED"),
    errors.DeadlineExceededError: (504, "DEADLINE_EXCEEDED"),
    errors.ShuttingDownError: (503, "UNAVAILABLE"),
    errors.InstanceLostError: (503, "UNAVAILABLE"),
    errors.EngineError: (500, "INTERNAL"),
    errors.ModelLoadError: (400, "INVALID_ARGUMENT"),
    errors.ConfigError: (500, "INTERNAL"),
}


def test_every_error_has_a_row_of_its_own() -> None:
    assert set(CLASSES) == set(error_table._TABLE)


@pytest.mark.parametrize("kind", PROMISED, ids=lambda kind: kind.__name__)
def test_row_is_as_promised(kind: type[errors.BeyondError]) -> None:
    assert (http_status(kind("m")), grpc_code(kind("m"))) == PROMISED[kind]


def test_grpc_codes_are_ones_that_grpc_knows() -> None:
    import grpc

    assert all(hasattr(grpc.StatusCode, grpc_code(kind("m"))) for kind in CLASSES)


def test_subclass_elsewhere_takes_its_base_classes_row() -> None:
    class Special(errors.QueueFullError):
        pass

    assert http_status(Special("m")) == 429


def test_bodies() -> None:
    error = errors.ImageDecodeError("bad é\ud800", "send another")
    assert json.loads(error_body(error)) == {
        "error": {"code": "image_decode", "message": "bad é\ud800", "hint": "send another"}
    }
    assert json.loads(oip_error_body(error)) == {"error": "bad é\ud800; send another"}
    plain = errors.EngineError("it failed")
    assert json.loads(error_body(plain)) == {"error": {"code": "engine", "message": "it failed"}}
    assert json.loads(oip_error_body(plain)) == {"error": "it failed"}
    assert grpc_details(plain) == "it failed"


def test_foreign_error_keeps_its_insides() -> None:
    foreign = KeyError("secret")
    assert (http_status(foreign), grpc_code(foreign)) == (500, "INTERNAL")
    for said in (error_body(foreign).decode(), oip_error_body(foreign).decode(), grpc_details(foreign)):
        assert "secret" not in said


def test_headers() -> None:
    assert http_headers(errors.QueueFullError("full", retry_after_s=7)) == (
        ("Error-Code", "queue_full"),
        ("Retry-After", "7"),
    )
    assert http_headers(errors.UnauthorizedError("no")) == (
        ("Error-Code", "unauthorized"),
        ("WWW-Authenticate", "Bearer"),
    )
    assert http_headers(errors.EngineError("no")) == (("Error-Code", "engine"),)
    assert http_headers(KeyError("secret")) == (("Error-Code", "internal"),)
