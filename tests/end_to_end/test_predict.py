"""A user's first minutes: curl, the browser's paths, our client."""

from __future__ import annotations

import json

import aiohttp
import pytest

from beyond_serve.batching import STAGES
from beyond_serve.client import AsyncClient, Client
from tests.end_to_end.serving import EXAMPLES, Server, curl

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_the_announced_line_works_as_it_stands(server: Server) -> None:
    (line,) = [line for line in server.said if line.startswith("try:")]
    url = line.split("'")[1]
    status, body = curl("-T", str(EXAMPLES / "seven.jpg"), url)
    answer = json.loads(body)
    assert status == 200
    assert answer["model"] == "demo"
    assert answer["predictions"][0]["label"] == "seven"
    assert answer["predictions"][0]["index"] == 7
    scores = [prediction["score"] for prediction in answer["predictions"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert list(answer["trace"]["stages_us"]) == list(STAGES)


def test_the_trace_has_no_gap(server: Server) -> None:
    _, body = curl("-T", str(EXAMPLES / "medium-three.jpg"), f"{server.http}/predict?trace=1")
    trace = json.loads(body)["trace"]
    assert abs(trace["residual_us"]) < max(50, trace["total_us"] / 100)
    assert sum(trace["stages_us"].values()) + trace["residual_us"] == pytest.approx(trace["total_us"])
    for stage in ("decode", "transform", "infer"):
        assert trace["stages_us"][stage] > 0
    assert trace["batch"]["size"] == 1
    assert trace["instance"] == "demo-0"


@pytest.mark.parametrize("digit", DIGITS)
def test_every_example_is_recognised_over_both_transports(server: Server, digit: str) -> None:
    for url in (server.http, f"grpc://{server.grpc}"):
        with Client(url) as client:
            assert client.predict(EXAMPLES / f"{digit}.jpg").top.label == digit


def test_both_transports_give_the_same_probabilities(server: Server) -> None:
    answers = []
    for url in (server.http, f"grpc://{server.grpc}"):
        with Client(url) as client:
            prediction = client.predict(EXAMPLES / "seven.jpg", top_k=10, trace=True)
        assert prediction.trace is not None
        assert (prediction.trace.batch_size, prediction.trace.instance) == (1, "demo-0")
        answers.append(prediction.classes)
    assert answers[0] == answers[1]
    assert sum(score.score for score in answers[0]) == pytest.approx(1, abs=1e-5)


def test_several_images_in_one_request_are_answered_in_order(server: Server) -> None:
    parts = [argument for digit in DIGITS for argument in ("-F", f"a=@{EXAMPLES / digit}.jpg")]
    status, body = curl(*parts, f"{server.http}/predict?top_k=1")
    assert status == 200
    assert [item["predictions"][0]["label"] for item in json.loads(body)] == list(DIGITS)


def test_a_bad_image_among_several_fails_alone(server: Server) -> None:
    good = EXAMPLES / "one.jpg"
    status, body = curl("-F", f"a=@{good}", "-F", "b=junk", "-F", f"c=@{good}", f"{server.http}/predict")
    first, second, third = json.loads(body)
    assert status == 200
    assert first["predictions"] == third["predictions"]
    assert second["error"]["code"] == "unsupported_image"


def test_server_timing_names_every_stage(server: Server) -> None:
    _, head = curl(
        "-D", "-", "-o", "/dev/null", "-T", str(EXAMPLES / "six.jpg"), f"{server.http}/predict?trace=1"
    )
    (line,) = [line for line in head.decode().lower().splitlines() if line.startswith("server-timing")]
    assert all(stage in line for stage in STAGES)


def test_metrics_count_what_was_answered(server: Server) -> None:
    def answered() -> float:
        _, text = curl(f"{server.http}/metrics")
        (line,) = [x for x in text.decode().splitlines() if x.startswith('beyond_images_total{model="demo"}')]
        return float(line.split()[1])

    before = answered()
    curl("-T", str(EXAMPLES / "two.jpg"), f"{server.http}/predict")
    assert answered() == before + 1


def test_health_and_the_interfaces_description(server: Server) -> None:
    status, body = curl(f"{server.http}/healthz")
    assert (status, json.loads(body)["ready"]) == (200, True)
    status, body = curl(f"{server.http}/openapi.json")
    assert status == 200
    assert "/predict" in json.loads(body)["paths"]


async def test_many_clients_at_once_are_batched(server: Server) -> None:
    body = (EXAMPLES / "seven.jpg").read_bytes()
    async with aiohttp.ClientSession() as session:

        async def one() -> dict:
            async with session.post(f"{server.http}/predict?trace=1", data=body) as response:
                return await response.json()

        import asyncio

        answers = await asyncio.gather(*(one() for _ in range(64)))
    assert {answer["predictions"][0]["label"] for answer in answers} == {"seven"}
    assert max(answer["trace"]["batch"]["size"] for answer in answers) > 1


async def test_the_async_client_reads_the_trace_over_both_transports(server: Server) -> None:
    for url in (server.http, f"grpc://{server.grpc}"):
        async with AsyncClient(url) as client:
            prediction = await client.predict(EXAMPLES / "nine.jpg", trace=True, top_k=3)
            assert len(prediction.classes) == 3
            assert prediction.trace is not None
            assert prediction.trace.stages_us["infer"] > 0
