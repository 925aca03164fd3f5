"""Leaving clients, deadlines, priorities, policies and the ladder, as clients of the real server see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.chaos import poison
from tests.chaos.victim import Samples
from tests.end_to_end.asking import Asker, Gauges, asker, leave, started
from tests.end_to_end.serving import Server, serving

IMAGE = poison.image(7)
SLOTS_BESIDE_BATCHES = 2
"""Slots of a model with one decoder, beside two for each image of a batch: what is being decoded."""

# One decoder and batches of one, so that a few requests fill each stage. `max-batch` and the costs are all
# that decides; an emulated accelerator takes no CPU.
CONFIGURATION = """
decode-threads = 1

[models.single]
path = "sim:{single}"
max-batch = 1
max-queue = 6

[models.fixed]
path = "sim:{quick}"
max-batch = 4
max-delay-us = 60000

[models.adaptive]
path = "sim:{quick}"
max-batch = 4
policy = "adaptive"

[models.deadline]
path = "sim:{quick}"
max-batch = 4
policy = "deadline"

[models.deferred]
path = "sim:{quick}"
max-batch = 4
policy = "deferred"

[models.stairs]
path = "sim:{steps}"
max-batch = 1
ladder = "exact,fast"
ladder-wait-ms = 30
"""

TABLES = {"single": {"1": 250}, "quick": {"1": 4, "4": 6}, "steps": {"1": 10}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("overload")
    for name, latency_ms in TABLES.items():
        table = {"name": name, "input": [8, 8, 3], "classes": 4, "latency_ms": latency_ms}
        (folder / f"{name}.json").write_text(json.dumps(table))
    config = folder / "serve.toml"
    config.write_text(CONFIGURATION.format(**{name: folder / f"{name}.json" for name in TABLES}))
    with serving("--config", str(config)) as running:
        yield running


def cancelled(samples: Samples, stage: str) -> float:
    return samples.get(f'beyond_cancelled_total{{stage="{stage}"}}', 0)


def batches(samples: Samples) -> float:
    return samples.get("beyond_batch_size_count", 0)


async def quiet(gauges: Gauges) -> Samples:
    """Wait until nothing waits or runs: all slots of a model with batches of one are free."""
    return await gauges.until(
        lambda now: (
            now["beyond_queue_length"] == 0 and now["beyond_slots_free"] == 2 * 1 + SLOTS_BESIDE_BATCHES
        )
    )


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_leaving_at_each_stage_is_counted_and_saves_the_rest(served: Server, transport: str) -> None:
    gauges = Gauges(served, "single")
    before = await quiet(gauges)
    async with asker(served, transport) as asking:
        # The first runs; three more are decoded, which takes every slot; the fifth and sixth stay encoded.
        (running,) = started(asking.ask("single", IMAGE))
        await gauges.until(lambda now: now["beyond_queue_length"] == 0 and now["beyond_slots_free"] == 3)
        ready = started(*(asking.ask("single", IMAGE) for _ in range(3)))
        await gauges.until(lambda now: now["beyond_slots_free"] == 0)
        waiting = started(*(asking.ask("single", IMAGE) for _ in range(2)))
        await gauges.until(lambda now: now["beyond_queue_length"] == 5)

        await leave(*waiting)
        now = await gauges.until(lambda now: now["beyond_queue_length"] == 3)
        assert cancelled(now, "waiting") == cancelled(before, "waiting") + 2
        await leave(*ready)
        now = await gauges.until(lambda now: now["beyond_queue_length"] == 0)
        assert cancelled(now, "ready") == cancelled(before, "ready") + 3
        assert now["beyond_slots_free"] == 3
        await leave(running)
        now = await gauges.until(lambda now: cancelled(now, "running") == cancelled(before, "running") + 1)
    # The batch that ran ended for nobody, and none was run for the other five.
    now = await quiet(gauges)
    assert batches(now) == batches(before) + 1
    assert now["beyond_images_total"] == before["beyond_images_total"]


def slow_to_decode() -> bytes:
    """Some hundred milliseconds of decoding."""
    buffer = BytesIO()
    Image.new("L", (6500, 6500), 90).save(buffer, "JPEG", quality=40)
    return buffer.getvalue()


async def test_leaving_while_decoding_saves_the_batch(served: Server) -> None:
    gauges = Gauges(served, "single")
    before = await quiet(gauges)
    image = slow_to_decode()
    for transport in ("http", "grpc"):
        async with asker(served, transport) as asking:
            # The second is still behind the first at the decoder, whatever the machine is doing.
            tasks = started(*(asking.ask("single", image) for _ in range(2)))
            await gauges.until(lambda now: now["beyond_slots_free"] == 2)
            await leave(*tasks)
        now = await quiet(gauges)
        assert cancelled(now, "decoding") == cancelled(before, "decoding") + 2
        assert batches(now) == batches(before)
        before = now


async def test_leaving_in_the_middle_of_the_body_reaches_no_model(served: Server) -> None:
    gauges = Gauges(served, "single")
    before = await quiet(gauges)
    await gauges.leave_in_mid_body()
    assert await quiet(gauges) == before


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_a_deadline_that_cannot_be_met_is_refused_at_once(served: Server, transport: str) -> None:
    gauges = Gauges(served, "single")
    await quiet(gauges)
    async with asker(served, transport) as asking:
        # What a batch takes is certain for a second after one.
        assert (await asking.ask("single", IMAGE)).code == "ok"
        before = await gauges.read()
        outcomes = [await asking.ask("single", IMAGE, timeout_ms=150)]
        if transport == "grpc":
            outcomes.append(await asking.ask("single", IMAGE, deadline_s=0.2))
    for outcome in outcomes:
        assert outcome.code == "deadline_exceeded"
        assert "cannot be met" in outcome.said
    after = await gauges.read()
    assert batches(after) == batches(before)
    assert after["beyond_slots_free"] == before["beyond_slots_free"]


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_a_deadline_ends_a_request_that_waits(served: Server, transport: str) -> None:
    gauges = Gauges(served, "fixed")
    async with asker(served, transport) as asking:
        outcome = await asking.ask("fixed", IMAGE, timeout_ms=20)
    # The policy's delay is three times as long; what it knows of costs lets the batch leave in time, or the
    # timer ends the request.
    assert outcome.code in ("ok", "deadline_exceeded")
    if outcome.code == "ok":
        assert outcome.release == "deadline"
    await gauges.until(lambda now: now["beyond_queue_length"] == 0)


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_a_full_queue_says_when_to_come_back(served: Server, transport: str) -> None:
    gauges = Gauges(served, "single")
    await quiet(gauges)
    async with asker(served, transport) as asking:
        held = await held_up(gauges, asking, waiting=6)
        outcome = await asking.ask("single", IMAGE)
        # A tenth of the queue is kept for those that matter more.
        more = started(asking.ask("single", IMAGE, priority=1))
        await gauges.until(lambda now: now["beyond_queue_length"] == 7)
        await leave(*held, *more)
    assert outcome.code == "queue_full"
    assert outcome.retry_after_s >= 1


async def held_up(gauges: Gauges, asking: Asker, waiting: int) -> list[asyncio.Task]:
    """Requests that run and wait; the first of them keeps the instance busy for a quarter of a second."""
    (running,) = started(asking.ask("single", IMAGE))
    await gauges.until(lambda now: now["beyond_queue_length"] == 0 and now["beyond_slots_free"] == 3)
    others = started(*(asking.ask("single", IMAGE) for _ in range(waiting)))
    await gauges.until(lambda now: now["beyond_queue_length"] == waiting)
    return [running, *others]


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_the_first_priority_overtakes(served: Server, transport: str) -> None:
    gauges = Gauges(served, "single")
    await quiet(gauges)
    async with asker(served, transport) as asking:
        running, *others = await held_up(gauges, asking, waiting=2)
        (urgent,) = started(asking.ask("single", IMAGE, priority=1))
        await gauges.until(lambda now: now["beyond_queue_length"] == 3)
        assert not running.done()
        done, _ = await asyncio.wait([urgent, *others], return_when=asyncio.FIRST_COMPLETED)
        await leave(*others)
    assert done == {urgent}
    assert urgent.result().code == "ok"


@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize(
    ("policy", "count", "timeout_ms", "releases"),
    [
        # Two wait for others until the delay is over; four are a batch.
        ("fixed", 2, 0, {"delay"}),
        ("fixed", 4, 0, {"full"}),
        ("deadline", 1, 2000, {"idle"}),
        # Both wait as long as their deadlines allow.
        ("deferred", 2, 400, {"deadline"}),
        ("deferred", 4, 2000, {"full"}),
        ("adaptive", 1, 0, {"idle", "delay"}),
    ],
)
async def test_each_policy_serves_and_says_why_its_batch_left(
    served: Server, transport: str, policy: str, count: int, timeout_ms: float, releases: set[str]
) -> None:
    gauges = Gauges(served, policy)
    before = await gauges.read()
    async with asker(served, transport) as asking:
        # A first batch, so that the costs are known that deadlines are judged by.
        await asking.ask(policy, IMAGE, timeout_ms=50)
        outcomes = await asyncio.gather(
            *(asking.ask(policy, IMAGE, timeout_ms=timeout_ms) for _ in range(count))
        )
    assert [outcome.code for outcome in outcomes] == ["ok"] * count
    assert {outcome.release for outcome in outcomes} <= releases
    assert {outcome.batch_size for outcome in outcomes} == {count}
    after = await gauges.read()
    name = f'beyond_batches_total{{release="{outcomes[0].release}"}}'
    assert after[name] > before.get(name, 0)


async def test_the_ladder_steps_down_under_overload_and_back_afterwards(served: Server) -> None:
    gauges = Gauges(served, "stairs")
    async with asker(served, "http") as http, asker(served, "grpc") as grpc:
        assert (await http.ask("stairs", IMAGE)).trace["rung"] == "exact"
        both = [asking.ask("stairs", IMAGE) for asking in (http, grpc) for _ in range(15)]
        outcomes = await asyncio.gather(*both)
        rungs = [outcome.trace["rung"] for outcome in outcomes]
        assert "fast" in rungs[:15]
        assert "fast" in rungs[15:]
        samples = await gauges.read()
        assert samples["beyond_ladder_rung"] == 1
        assert samples['beyond_rung_images_total{rung="fast"}'] >= rungs.count("fast")
        # Calm for two seconds, and it is as before; a batch's own time, more than a quarter of the bound, is
        # no waiting.
        async with asyncio.timeout(20):
            while (await http.ask("stairs", IMAGE)).trace["rung"] != "exact":
                pass
        assert (await grpc.ask("stairs", IMAGE)).trace["rung"] == "exact"
    assert (await gauges.read())["beyond_ladder_rung"] == 0
