"""One bad image, one poisonous row, one killed process: nobody else's answer changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.chaos import poison
from tests.end_to_end.asking import Asker, Gauges, Outcome, asker, only_instance, standing_still, started
from tests.end_to_end.serving import EXAMPLES, Server, serving

BATCH = 4
NUMBERS = (3, 500, 777, 1023)

# A full batch leaves at once; one that is not full would wait longer than any test here.
CONFIGURATION = """
max-batch = {batch}
max-delay-us = 30000000

[models.digits]
path = "demo"
engine = "onnxruntime"

[models.rows]
path = "{rows}"
engine = "onnxruntime"

[models.apart]
path = "{rows}"
engine = "onnxruntime"
instance-kind = "process"
"""


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose batches are formed of exactly what a test sends."""
    folder: Path = tmp_path_factory.mktemp("isolation")
    rows = poison.write_model(folder / "rows.onnx")
    config = folder / "serve.toml"
    config.write_text(CONFIGURATION.format(batch=BATCH, rows=rows))
    with serving("--config", str(config)) as running:
        yield running


async def ask_all(asking: Asker, model: str, images: list[bytes]) -> list[Outcome]:
    return await asyncio.gather(*(asking.ask(model, image) for image in images))


def examples(*names: str) -> list[bytes]:
    return [(EXAMPLES / f"{name}.jpg").read_bytes() for name in names]


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_bad_images_leave_their_neighbours_bit_for_bit_as_they_were(
    windows: Server, transport: str
) -> None:
    good = examples("one", "four", "seven", "nine")
    bad = {b"no image": "unsupported_image", good[0][:400]: "image_decode", b"": "unsupported_image"}
    async with asker(windows, transport) as asking:
        clean = await ask_all(asking, "digits", good)
        mixed = await ask_all(asking, "digits", [good[0], *list(bad)[:2], *good[1:], *list(bad)[2:]])
    kept = [mixed[0], *mixed[3:6]]
    assert [outcome.batch_size for outcome in (*clean, *kept)] == [BATCH] * 8
    assert [outcome.tensor for outcome in kept] == [outcome.tensor for outcome in clean]
    assert [np.frombuffer(o.tensor, np.float32).argmax() for o in kept] == [1, 4, 7, 9]
    assert [mixed[at].code for at in (1, 2, 6)] == list(bad.values())


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_poisonous_rows_fail_alone_out_of_a_batch_that_failed(windows: Server, transport: str) -> None:
    first, *_, last = NUMBERS
    images = [
        poison.image(first),
        poison.image(5, poisonous=True),
        poison.image(last),
        poison.image(6, poisonous=True),
    ]
    gauges = Gauges(windows, "rows")
    before = await gauges.read()
    async with asker(windows, transport) as asking:
        clean = await ask_all(asking, "rows", [poison.image(number) for number in NUMBERS])
        mixed = await ask_all(asking, "rows", images)
    assert [outcome.code for outcome in mixed] == ["ok", "engine", "ok", "engine"]
    assert [mixed[0].tensor, mixed[2].tensor] == [clean[0].tensor, clean[3].tensor]
    assert [(o.release, o.batch_size) for o in (*clean, mixed[0], mixed[2])] == [("full", BATCH)] * 4 + [
        ("retry", 1)
    ] * 2
    assert "Gather" in mixed[1].said
    after = await gauges.until(lambda now: now['beyond_batches_total{release="retry"}'] >= grown(before, 4))
    assert after['beyond_batches_total{release="retry"}'] == grown(before, 4)
    assert after['beyond_batches_total{release="full"}'] == grown(before, 2, "full")


def grown(before: dict[str, float], by: int, release: str = "retry") -> float:
    return before.get(f'beyond_batches_total{{release="{release}"}}', 0) + by


async def test_a_process_killed_while_its_batch_runs_costs_no_answer(windows: Server) -> None:
    gauges = Gauges(windows, "apart")
    idle = await gauges.read()
    victim = only_instance(windows)
    async with asker(windows, "http") as http, asker(windows, "grpc") as grpc:
        askers = (http, grpc, http, grpc)
        images = [poison.image(number) for number in NUMBERS]
        with standing_still(victim):
            tasks = started(
                *(asking.ask("apart", image) for asking, image in zip(askers, images, strict=True))
            )
            # All have left the queue, and their slots are in use: the process has the batch.
            await gauges.until(
                lambda now: (
                    now["beyond_queue_length"] == 0
                    and now["beyond_slots_free"] == idle["beyond_slots_free"] - BATCH
                )
            )
            victim.kill()
        outcomes = await asyncio.gather(*tasks)
    assert [outcome.code for outcome in outcomes] == ["ok"] * BATCH
    assert [(o.release, o.batch_size) for o in outcomes] == [("retry", 1)] * BATCH
    assert [int(np.frombuffer(o.tensor, np.float32).argmax()) for o in outcomes] == list(NUMBERS)
    await gauges.until(
        lambda now: (
            (now["beyond_slots_free"], now["beyond_instances_alive"])
            == (idle["beyond_slots_free"], idle["beyond_instances_alive"])
        )
    )
