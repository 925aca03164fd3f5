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
from tests.end_to_end.asking import (
    Asker,
    Gauges,
    Outcome,
    asker,
    leave,
    only_instance,
    standing_still,
    started,
)
from tests.end_to_end.serving import Server, serving

IMAGE = poison.image(7)
SLOTS_BESIDE_BATCHES = 2
"""Slots of a model with one decoder, beside two for each image of a batch: what is being decoded."""

# One decoder and batches of one, so that a few requests fill each stage of "single", whose process a test
# can stop. An emulated accelerator takes no CPU.
CONFIGURATION = """
decode-threads = 1

[models.single]
path = "sim:{single}"
instance-kind = "process"
max-batch = 1
max-queue = 6

[models.slow]
path = "sim:{slow}"
max-batch = 1

[models.fixed]
path = "sim:{quick}"
max-batch = 4
max-delay-us = 200000

[models.adaptive]
path = "sim:{quick}"
max-batch = 4
policy = "adaptive"

[models.deadline]
path = "sim:{quick}"
max-batch = 4
policy = "deadline"

[models.deferred]
path = "sim:{steep}"
max-batch = 4
policy = "deferred"

[models.stairs]
path = "sim:{steps}"
max-batch = 1
ladder = "exact,fast"
ladder-wait-ms = 30
"""

TABLES = {
    "single": {"1": 60},
    "slow": {"1": 400},
    "quick": {"1": 4, "4": 6},
    "steep": {"1": 30, "4": 210},
    "steps": {"1": 10},
}


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


async def test_a_deadline_ends_a_request_that_waits_or_runs(served: Server) -> None:
    """The first test, for the others stop the instance as well, which teaches the server that it is slow, and
    that deadlines cannot be met."""
    gauges = Gauges(served, "single")
    before = await quiet(gauges)
    async with asker(served, "http") as http, asker(served, "grpc") as grpc:
        with standing_still(only_instance(served)):
            outcomes = await asyncio.gather(
                *(asking.ask("single", IMAGE, timeout_ms=500) for asking in (http, grpc))
            )
        now = await quiet(gauges)
    assert [outcome.code for outcome in outcomes] == ["deadline_exceeded"] * 2
    assert {outcome.said.split(";")[0].split()[-1] for outcome in outcomes} == {"running", "ready"}
    assert batches(now) == batches(before) + 1


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_leaving_at_each_stage_is_counted_and_saves_the_rest(served: Server, transport: str) -> None:
    gauges = Gauges(served, "single")
    before = await quiet(gauges)
    async with asker(served, transport) as asking:
        with standing_still(only_instance(served)):
            # One runs; three more are decoded, which takes every slot; two stay encoded.
            running, *ready = await held_up(gauges, asking, waiting=3)
            assert (await gauges.read())["beyond_slots_free"] == 0
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
            await gauges.until(lambda now: cancelled(now, "running") == cancelled(before, "running") + 1)
        # The batch that ran ends for nobody, and none is run for the other five.
        now = await quiet(gauges)
    assert batches(now) == batches(before) + 1
    assert now["beyond_images_total"] == before["beyond_images_total"]


async def held_up(gauges: Gauges, asking: Asker, waiting: int) -> list[asyncio.Task[Outcome]]:
    """One request that runs on the stopped instance, and some that wait; at most three are decoded."""
    (running,) = started(asking.ask("single", IMAGE))
    await gauges.until(lambda now: now["beyond_queue_length"] == 0 and now["beyond_slots_free"] == 3)
    others = started(*(asking.ask("single", IMAGE) for _ in range(waiting)))
    await gauges.until(
        lambda now: now["beyond_queue_length"] == waiting and now["beyond_slots_free"] == max(0, 3 - waiting)
    )
    return [running, *others]


def slow_to_decode() -> bytes:
    """A tenth of a second of decoding or so."""
    buffer = BytesIO()
    Image.new("L", (7000, 7000), 90).save(buffer, "JPEG", quality=40)
    return buffer.getvalue()


async def test_leaving_while_decoding_saves_the_batch(served: Server) -> None:
    gauges = Gauges(served, "single")
    image = slow_to_decode()
    for transport in ("http", "grpc"):
        saved = 0.0
        async with asker(served, transport) as asking:
            # A machine that stumbles may decode all three before they have left; then once more.
            while not saved:
                before = await quiet(gauges)
                with standing_still(only_instance(served)):
                    tasks = started(*(asking.ask("single", image) for _ in range(3)))
                    await gauges.until(lambda now: now["beyond_slots_free"] <= 1)
                    await leave(*tasks)
                now = await quiet(gauges)
                saved = cancelled(now, "decoding") - cancelled(before, "decoding")
                assert batches(now) <= batches(before) + 3 - saved


async def test_leaving_in_the_middle_of_the_body_reaches_no_model(served: Server) -> None:
    gauges = Gauges(served, "single")
    before = await quiet(gauges)
    await gauges.leave_in_mid_body()
    assert await quiet(gauges) == before


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_a_deadline_that_cannot_be_met_is_refused_at_once(served: Server, transport: str) -> None:
    gauges = Gauges(served, "slow")
    async with asker(served, transport) as asking:
        # What a batch takes is certain for a second after one.
        assert (await asking.ask("slow", IMAGE)).code == "ok"
        before = await gauges.read()
        outcomes = [await asking.ask("slow", IMAGE, timeout_ms=300)]
        if transport == "grpc":
            outcomes.append(await asking.ask("slow", IMAGE, deadline_s=0.3))
    for outcome in outcomes:
        assert outcome.code == "deadline_exceeded"
        assert "cannot be met" in outcome.said
    after = await gauges.read()
    assert batches(after) == batches(before)
    assert after["beyond_slots_free"] == before["beyond_slots_free"]


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_a_full_queue_says_when_to_come_back(served: Server, transport: str) -> None:
    gauges = Gauges(served, "single")
    await quiet(gauges)
    async with asker(served, transport) as asking:
        with standing_still(only_instance(served)):
            held = await held_up(gauges, asking, waiting=6)
            outcome = await asking.ask("single", IMAGE)
            # A tenth of the queue is kept for those that matter more.
            more = started(asking.ask("single", IMAGE, priority=1))
            await gauges.until(lambda now: now["beyond_queue_length"] == 7)
            await leave(*held, *more)
    assert outcome.code == "queue_full"
    assert outcome.retry_after_s >= 1


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_the_first_priority_overtakes(served: Server, transport: str) -> None:
    gauges = Gauges(served, "single")
    await quiet(gauges)
    async with asker(served, transport) as asking:
        with standing_still(only_instance(served)):
            _, *others = await held_up(gauges, asking, waiting=2)
            (urgent,) = started(asking.ask("single", IMAGE, priority=1))
            await gauges.until(lambda now: now["beyond_queue_length"] == 3 and now["beyond_slots_free"] == 0)
        done, _ = await asyncio.wait([urgent, *others], return_when=asyncio.FIRST_COMPLETED)
        await leave(*others)
    assert done == {urgent}
    assert urgent.result().code == "ok"


@pytest.mark.parametrize(
    ("policy", "bursts"),
    [
        # Two wait for others until the delay is over; four are a batch.
        ("fixed", [(4, 0, "full"), (2, 0, "delay")]),
        # A free instance takes what there is; what it is known to cost leaves time for it.
        ("deadline", [(1, 5000, "idle")]),
        # Two wait as long as their deadline allows a batch of three, and so end well before it.
        ("deferred", [(4, 5000, "full"), (2, 500, "deadline")]),
        ("adaptive", [(1, 0, "idle")]),
    ],
)
async def test_each_policy_serves_and_says_why_its_batch_left(
    served: Server, policy: str, bursts: list[tuple[int, float, str]]
) -> None:
    gauges = Gauges(served, policy)
    async with asker(served, "http") as http, asker(served, "grpc") as grpc:
        for count, timeout_ms, release in bursts:
            before = await gauges.read()
            askers = [http, grpc] * count
            outcomes = await asyncio.gather(
                *(asking.ask(policy, IMAGE, timeout_ms=timeout_ms) for asking in askers[:count])
            )
            assert [outcome.code for outcome in outcomes] == ["ok"] * count
            assert {(outcome.release, outcome.batch_size) for outcome in outcomes} == {(release, count)}
            name = f'beyond_batches_total{{release="{release}"}}'
            assert (await gauges.read())[name] == before.get(name, 0) + 1


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
