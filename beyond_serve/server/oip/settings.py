"""The trace and log settings as the extensions name them; they are fixed when the server starts."""

from __future__ import annotations

from typing import Any

_LEVELS = ("debug", "info", "warning", "error")


def trace_settings(trace_file: str) -> dict[str, Any]:
    """Values are strings or lists of strings, as the extension has it. Every request is traced."""
    return {
        "trace_level": ["TIMESTAMPS"] if trace_file else ["OFF"],
        "trace_rate": "1",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": trace_file,
        "trace_mode": "triton",
    }


def log_settings(log_level: str) -> dict[str, Any]:
    """`log_level` as `--log-level` takes it."""
    level = _LEVELS.index(log_level)
    return {
        "log_file": "",
        "log_info": level <= 1,
        "log_warning": level <= 2,
        "log_error": True,
        "log_verbose_level": 1 if level == 0 else 0,
        "log_format": "default",
    }
