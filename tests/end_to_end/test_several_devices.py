"""One model on several devices, emulated ones, by the real command."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.end_to_end.asking import Gauges, asker
from tests.end_to_end.serving import EXAMPLES, refused, serving

SEVEN = (EXAMPLES / "seven.jpg").read_bytes()


@pytest.fixture
def source(tmp_path: Path) -> str:
    """An emulated accelerator that takes 20 ms for a batch of any size."""
    table = tmp_path / "slow.json"
    table.write_text(
        json.dumps({"name": "slow", "input": [32, 32, 3], "classes": 3, "latency_ms": {"1": 20, "4": 20}})
    )
    return f"sim:{table}"


@pytest.mark.parametrize("kind", ["thread", "process"])
async def test_every_device_gets_batches_and_trace_and_metrics_tell_them_apart(
    source: str, kind: str
) -> None:
    arguments = ("--model", source, "--device", "sim:0,sim:1", "--instance-kind", kind, "--max-batch", "4")
    with serving(*arguments) as server:
        text = "\n".join(server.said)
        assert "slow: sim fp32 on sim:0, sim:1 (simulated" in text.replace("  ", " ")
        assert f"1 {kind} instance on each" in text
        async with asyncio.timeout(30), asker(server, "http") as ask:
            outcomes = await asyncio.gather(*(ask.ask("slow", SEVEN) for _ in range(48)))
        assert {outcome.code for outcome in outcomes} == {"ok"}
        assert {o.trace["instance"] for o in outcomes} == {"slow-sim:0-0", "slow-sim:1-0"}
        samples = await Gauges(server, "slow").read()
        images = {
            found[1]: value
            for name, value in samples.items()
            if (found := re.search(r'instance_images_total\{.*device="([^"]+)"', name))
        }
        assert sum(images.values()) == 48
        assert set(images) == {"sim:0", "sim:1"}
        assert all(images.values()), "one device got nothing"
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("cuda:0,cuda:0", "names cuda:0 twice"),
        ("cpu,cuda:0", "mixes cpu and cuda"),
        ("cuda:0,,cuda:1", "'' is no device"),
        ("gpu", "'gpu' is no device"),
        ("auto,cuda:1", "others beside auto"),
        ("cuda:all,cuda:1", "others beside all"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_in_one_line(device: str, says: str) -> None:
    status, stderr = refused("--model", "demo", "--device", device)
    assert status == 2
    assert says in stderr
    assert stderr.count("\n") == 1
    assert ";" in stderr, "it says what to do"
