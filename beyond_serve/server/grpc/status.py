"""How an error leaves over gRPC: code, message and trailing metadata."""

from __future__ import annotations

import logging
from typing import Any, Final

import grpc

from beyond_serve.errors import BeyondError, QueueFullError
from beyond_serve.server.error_table import error_code, grpc_code, grpc_details

log = logging.getLogger(__name__)

Metadata = tuple[tuple[str, str], ...]

# Several errors share a gRPC status; this tells them apart.
ERROR_CODE_KEY: Final = "error-code"

# Clients take at most 8 kB of trailers by default, in which every byte beyond ASCII takes three.
_LONGEST_DETAILS = 2000


def set_refusal(context: Any, status: grpc.StatusCode, code: str, details: str) -> None:
    """Let the RPC end with what no class of errors.py says; `code` is as HTTP's answers have it."""
    context.set_code(status)
    context.set_details(details)
    context.set_trailing_metadata(((ERROR_CODE_KEY, code),))


def set_error(context: Any, error: BaseException, trailers: Metadata = ()) -> None:
    """Let the RPC end with `error`: cheaper than aborting, which raises through the handler.

    What is no BeyondError is logged here, with its stack, and tells the client nothing.
    """
    if not isinstance(error, BeyondError):
        log.error("a gRPC handler failed", exc_info=error)
    context.set_code(grpc.StatusCode[grpc_code(error)])
    context.set_details(grpc_details(error)[:_LONGEST_DETAILS])
    trailers = ((ERROR_CODE_KEY, error_code(error)), *trailers)
    if isinstance(error, QueueFullError):
        trailers = (*trailers, ("retry-after", str(error.retry_after_s)))
    context.set_trailing_metadata(trailers)
