from __future__ import annotations

import logging

import pytest

from beyond_serve.engines.tensorrt.plan_log import PlanLog


def test_the_last_errors_in_one_line_without_where_they_are_in_the_sources() -> None:
    log = PlanLog()
    for number in range(20):
        log.hear("ERROR", f"IRuntime::load: Error Code 1: Serialization (number {number} failed.)")
    log.hear("INFO", "Loaded engine size: 0 MiB")
    log.hear(
        "ERROR",
        "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In f at /_src/a.cpp:25 "
        "(cudaError 35:\n driver))",
    )
    assert log.told() == (
        "Serialization (number 18 failed.); Serialization (number 19 failed.); "
        "Cuda Runtime ((cudaError 35: driver))"
    )
    log.forget()
    assert log.told() == "it does not say why"


def test_a_long_story_is_cut() -> None:
    log = PlanLog()
    log.hear("ERROR", "x" * 5000)
    assert len(log.told()) == 400
    assert log.told().endswith("…")


def test_warnings_reach_our_log_and_errors_once_a_plan_is_loaded(caplog: pytest.LogCaptureFixture) -> None:
    log = PlanLog()
    with caplog.at_level(logging.INFO):
        log.hear("WARNING", "slow")
        log.hear("ERROR", "told by an exception")
        log.hear("VERBOSE", "chatter")
        log.forwards_errors = True
        log.hear("INTERNAL_ERROR", "told by nobody else")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "TensorRT: slow"),
        ("ERROR", "TensorRT: told by nobody else"),
    ]
