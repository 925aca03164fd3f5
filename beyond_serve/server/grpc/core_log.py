"""What gRPC's own server logs, without the stacks that say no more than that a client left."""

from __future__ import annotations

import logging
from typing import Final

GRPC_LOGGER: Final = "grpc._cython.cygrpc"

log = logging.getLogger(__name__)


def expect_leaving_clients() -> None:
    """Log a client that leaves in the very moment of its answer as what it is, at DEBUG, without a stack.

    gRPC logs an ERROR with its stack then (grpc/grpc#32551), since its core cannot send the answer. The call
    itself ends as any cancelled one. May be called again.
    """
    logging.getLogger(GRPC_LOGGER).addFilter(_is_no_leaving_client)


def _is_no_leaving_client(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    if kind is None or kind.__name__ != "ExecuteBatchError":
        return True
    log.debug("a client left while it was being answered: %s", record.getMessage())
    return False
