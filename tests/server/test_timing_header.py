from __future__ import annotations

from beyond_serve.batching import STAGES, Trace
from beyond_serve.server.timing_header import server_timing


def test_every_stage_and_the_total_in_milliseconds() -> None:
    trace = Trace(1_000_000, 1_500_000)
    trace.admitted = 1_512_345
    entries = server_timing(trace, 4_000_000).split(", ")
    assert [entry.split(";")[0] for entry in entries] == [*STAGES, "total"]
    assert entries[0] == "receive;dur=0.500"
    assert entries[1] == "admit;dur=0.012"
    assert entries[2] == "decode_wait;dur=0.000"
    assert entries[-2:] == ["reply;dur=2.488", "total;dur=3.000"]
