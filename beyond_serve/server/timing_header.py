"""A trace as the `Server-Timing` header (W3C Server Timing), which browsers and curl users can read."""

from __future__ import annotations

from beyond_serve.batching import STAGES, Trace


def server_timing(trace: Trace, end_ns: int) -> str:
    """Every stage and the total, in milliseconds; `reply` ends at `end_ns` if the reply is not sent yet."""
    parts = [f"{name};dur={ns / 1e6:.3f}" for name, ns in zip(STAGES, trace.stages_ns(end_ns), strict=True)]
    parts.append(f"total;dur={trace.total_ns(end_ns) / 1e6:.3f}")
    return ", ".join(parts)
