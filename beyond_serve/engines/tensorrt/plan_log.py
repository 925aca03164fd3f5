"""What TensorRT says: kept for error messages, as its calls themselves only answer None or False."""

from __future__ import annotations

import logging
import re
from collections import deque
from typing import Any

log = logging.getLogger(__name__)

_KEPT = 8
_TOLD = 3
_LONGEST = 400
# "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (…" and "IRuntime::…: Error Code 4: …"
_PREFIX = re.compile(r"^(\[[^\]]*\]\s*)?(\w+(::\w+)+:\s*)?(Error Code \d+:\s*)?")
_SOURCE = re.compile(r"\s*\bIn \w+ at [^\s)]*:\d+\s*")


class PlanLog:
    """The last errors of one plan or build; TensorRT calls `hear` on any thread.

    Attributes:
        forwards_errors: errors go to our log as well; while a plan is loaded they only go into the
            exception that tells of it.
    """

    def __init__(self) -> None:
        self.forwards_errors = False
        self._errors: deque[str] = deque(maxlen=_KEPT)

    def hear(self, severity: str, text: str) -> None:
        """
        Args:
            severity: a name of ILogger.Severity.
        """
        line = " ".join(text.split())
        match severity:
            case "INTERNAL_ERROR" | "ERROR":
                self._errors.append(line)
                log.log(logging.ERROR if self.forwards_errors else logging.DEBUG, "TensorRT: %s", line)
            case "WARNING":
                log.warning("TensorRT: %s", line)
            case "INFO":
                log.debug("TensorRT: %s", line)

    def forget(self) -> None:
        """What was said belongs to something that is over."""
        self._errors.clear()

    def raw(self) -> str:
        """All that is kept, as it was said."""
        return "\n".join(self._errors)

    def told(self) -> str:
        """The last errors in one line, without the places in TensorRT's sources that they name."""
        lines = [_SOURCE.sub("", _PREFIX.sub("", line)).strip() for line in list(self._errors)[-_TOLD:]]
        text = "; ".join(dict.fromkeys(line.rstrip(".") for line in lines if line)) or "it does not say why"
        return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def make_logger(trt: Any, plan_log: PlanLog) -> Any:
    """An ILogger that speaks to `plan_log`. TensorRT keeps a bare pointer to it: whoever asked for it keeps
    it for as long as anything made with it lives."""

    def start(self: Any) -> None:
        trt.ILogger.__init__(self)

    def hear(_: Any, severity: Any, text: str) -> None:
        plan_log.hear(severity.name, text)

    return type("Logger", (trt.ILogger,), {"__init__": start, "log": hear})()
