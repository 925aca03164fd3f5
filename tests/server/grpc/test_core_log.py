"""gRPC's own log: clients that leave are no errors, everything else is."""

from __future__ import annotations

import logging

import pytest

from beyond_serve.server.grpc.core_log import GRPC_LOGGER, expect_leaving_clients


class ExecuteBatchError(Exception):
    """As gRPC's core raises it."""


@pytest.mark.parametrize(
    ("error", "level", "stack"),
    [(ExecuteBatchError("send failed"), "DEBUG", False), (ValueError("a bug"), "ERROR", True)],
)
def test_only_clients_that_left_are_told_without_a_stack(
    caplog: pytest.LogCaptureFixture, error: Exception, level: str, stack: bool
) -> None:
    expect_leaving_clients()
    expect_leaving_clients()
    with caplog.at_level(logging.DEBUG):
        try:
            raise error
        except Exception:
            logging.getLogger(GRPC_LOGGER).exception("raised by servicer method [%s]", "/Infer")
    (record,) = caplog.records
    assert record.levelname == level
    assert "/Infer" in record.getMessage()
    assert (record.exc_info is not None) == stack


def test_other_lines_pass(caplog: pytest.LogCaptureFixture) -> None:
    expect_leaving_clients()
    logging.getLogger(GRPC_LOGGER).error("the port is gone")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
