"""Triton's own HTTP clients against a real server on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import tritonclient.http as sync_http
import tritonclient.http.aio as aio_http
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as client_shm

from beyond_serve.server.http.limits import HttpLimits
from beyond_serve.server.http.server import create_http_server
from tests.server.oip.fakes import FakeModel
from tests.server.v2.asking import Server

ROWS = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
JPEGS = np.array([b"\xff\xd8one", b"\xff\xd8two"], dtype=object)
SCORES = np.array([[0.5, 0.25, -1], [0.5, 1.25, -1]], np.float32)


class Running:
    """A served set of fake models, and blocking calls to it beside the loop that serves."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        """One call of the synchronous client, which lives and ends on one thread."""

        def work() -> Any:
            with sync_http.InferenceServerClient(self.url) as client:
                return getattr(client, name)(*args, **options)

        return await asyncio.to_thread(work)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    server = Server(FakeModel(answers_at_once=True), shm=True)
    loop = asyncio.get_running_loop()
    limits = HttpLimits(drain_grace_s=0)
    http = await create_http_server(loop, server.router, limits, "127.0.0.1", 0, gate=server.router.gate)
    yield Running(server, f"127.0.0.1:{http.port}")
    await http.drain(loop.time() + 1)
    server.regions.close()


def image(data: np.ndarray[Any, Any] = JPEGS, *, binary: bool = True) -> sync_http.InferInput:
    given = sync_http.InferInput("image", list(data.shape), "BYTES")
    given.set_data_from_numpy(data, binary_data=binary)
    return given


def pixels(*, binary: bool = True) -> sync_http.InferInput:
    given = sync_http.InferInput("pixels", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS, binary_data=binary)
    return given


@pytest.mark.parametrize("binary_out", [False, True])
@pytest.mark.parametrize("binary_in", [False, True])
async def test_a_tensor(running: Running, binary_in: bool, binary_out: bool) -> None:
    outputs = [
        sync_http.InferRequestedOutput(name, binary_data=binary_out) for name in ("features", "scores")
    ]
    result = await running.call("infer", "m", [pixels(binary=binary_in)], outputs=outputs, request_id="7")
    np.testing.assert_array_equal(running.server.model.submitted[0].rows, ROWS)
    np.testing.assert_array_equal(result.as_numpy("scores"), SCORES)
    np.testing.assert_array_equal(result.as_numpy("features"), [[0, 0], [1, 10]])
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
async def test_images(running: Running, shape: tuple[int, ...]) -> None:
    result = await running.call("infer", "m", [image(JPEGS.reshape(shape))], model_version="1", timeout=10**6)
    assert running.server.model.submitted[0].rows == JPEGS.tolist()
    np.testing.assert_array_equal(result.as_numpy("scores"), SCORES)


async def test_text_as_json(running: Running) -> None:
    await running.call("infer", "m", [image(np.array(["one", "two"], object), binary=False)])
    assert running.server.model.submitted[0].rows == [b"one", b"two"]


@pytest.mark.parametrize("binary", [False, True])
async def test_classes(running: Running, binary: bool) -> None:
    outputs = [sync_http.InferRequestedOutput("scores", binary_data=binary, class_count=1)]
    result = await running.call("infer", "m", [image()], outputs=outputs)
    values = [
        value if isinstance(value, bytes) else value.encode() for value in result.as_numpy("scores").ravel()
    ]
    assert values == [b"0.5:0:ant", b"1.25:1:bee"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compressed_both_ways(running: Running, coding: str) -> None:
    running.server.model.outputs = lambda count: {"scores": np.tile(SCORES, 200)[:count]}
    outputs = [sync_http.InferRequestedOutput("scores", binary_data=False)]
    result = await running.call(
        "infer",
        "m",
        [image()],
        outputs=outputs,
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    np.testing.assert_array_equal(result.as_numpy("scores"), np.tile(SCORES, 200))


async def test_a_trace_on_request(running: Running) -> None:
    result = await running.call("infer", "m", [image()], query_params={"trace": 1})
    assert "stages_us" in result.get_response()["parameters"]["trace"]


async def test_a_generated_body(running: Running) -> None:
    body, header_length = sync_http.InferenceServerClient.generate_request_body([image()])
    reply = running.server.start(
        "POST", "/v2/models/m/infer", body, {"Inference-Header-Content-Length": header_length}
    ).reply
    length = int(reply.headers["Inference-Header-Content-Length"])
    result = sync_http.InferenceServerClient.parse_response_body(reply.body, header_length=length)
    np.testing.assert_array_equal(result.as_numpy("scores"), SCORES)


async def test_errors_arrive_as_sentences(running: Running) -> None:
    with pytest.raises(InferenceServerException, match="no model 'x'") as caught:
        await running.call("infer", "x", [image()])
    assert caught.value.status() == "404"
    wrong = sync_http.InferInput("pixels", [1, 3, 2], "FP32")
    wrong.set_data_from_numpy(ROWS[:1, :, :, 0])
    with pytest.raises(InferenceServerException, match=r"has the shape \[1, 3, 2\]") as caught:
        await running.call("infer", "m", [wrong])
    assert caught.value.status() == "400"


async def test_what_can_be_read(running: Running) -> None:
    assert await running.call("is_server_live") is True
    assert await running.call("is_server_ready") is True
    assert await running.call("is_model_ready", "m") is True
    assert await running.call("is_model_ready", "m", "1") is True
    assert await running.call("is_model_ready", "x") is False
    assert (await running.call("get_server_metadata"))["name"] == "beyond-serve"
    assert (await running.call("get_model_metadata", "m"))["outputs"][0]["name"] == "scores"
    assert (await running.call("get_model_config", "m", "1"))["max_batch_size"] == 8
    assert len((await running.call("get_inference_statistics"))["model_stats"]) == 1
    assert (await running.call("get_inference_statistics", "m"))["model_stats"][0]["name"] == "m"
    assert (await running.call("get_trace_settings"))["trace_rate"] == "1"
    assert (await running.call("get_log_settings"))["log_error"] is True
    with pytest.raises(InferenceServerException, match="cannot be changed"):
        await running.call("update_log_settings", {"log_verbose_level": 2})
    with pytest.raises(InferenceServerException, match="cannot be changed"):
        await running.call("update_trace_settings", settings={"trace_rate": "5"})


async def test_the_repository(running: Running) -> None:
    index = await running.call("get_model_repository_index")
    assert [entry["name"] for entry in index] == ["m", "gone"]
    await running.call("load_model", "m")
    await running.call("unload_model", "m")
    assert running.server.repository.changes == [("load", "m"), ("unload", "m")]
    with pytest.raises(InferenceServerException, match="with parameters"):
        await running.call("load_model", "m", config="{}")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs POSIX shared memory")
async def test_shared_memory(running: Running) -> None:
    await running.call("unregister_system_shared_memory")
    await running.call("unregister_cuda_shared_memory")
    key = f"/beyond_test_{uuid4().hex}"
    handle = client_shm.create_shared_memory_region("r", key, ROWS.nbytes + SCORES.nbytes)
    try:
        client_shm.set_shared_memory_region(handle, [ROWS])
        await running.call("register_system_shared_memory", "r", key, ROWS.nbytes + SCORES.nbytes)
        status = await running.call("get_system_shared_memory_status")
        assert [(entry["name"], entry["key"]) for entry in status] == [("r", key)]
        given = sync_http.InferInput("pixels", list(ROWS.shape), "FP32")
        given.set_shared_memory("r", ROWS.nbytes)
        asked = sync_http.InferRequestedOutput("scores")
        asked.set_shared_memory("r", SCORES.nbytes, offset=ROWS.nbytes)
        result = await running.call("infer", "m", [given], outputs=[asked])
        np.testing.assert_array_equal(running.server.model.submitted[0].rows, ROWS)
        assert result.get_output("scores")["parameters"]["shared_memory_byte_size"] == SCORES.nbytes
        written = client_shm.get_contents_as_numpy(handle, np.float32, [2, 3], offset=ROWS.nbytes)
        np.testing.assert_array_equal(written, SCORES)
        await running.call("unregister_system_shared_memory", "r")
        with pytest.raises(InferenceServerException, match="no shared memory region 'r'"):
            await running.call("infer", "m", [given])
    finally:
        client_shm.destroy_shared_memory_region(handle)


async def test_the_asynchronous_client(running: Running) -> None:
    async with aio_http.InferenceServerClient(running.url) as client:
        assert await client.is_model_ready("m")
        results = await asyncio.gather(*(client.infer("m", [image()], request_id=str(i)) for i in range(8)))
        for index, result in enumerate(results):
            assert result.get_response()["id"] == str(index)
            np.testing.assert_array_equal(result.as_numpy("scores"), SCORES)
        compressed = await client.infer("m", [pixels()], request_compression_algorithm="gzip")
        np.testing.assert_array_equal(compressed.as_numpy("scores"), SCORES)
        with pytest.raises(InferenceServerException, match="no input"):
            await client.infer(
                "m", [sync_http.InferInput("x", [1], "FP32").set_data_from_numpy(ROWS[0, 0, 0, :1])]
            )
