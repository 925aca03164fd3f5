"""tritonclient's gRPC clients, in the server's own process: the stubs of both live side by side."""

from __future__ import annotations

import asyncio
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.server.grpc.conftest import serving


def image_input(*images):
    given = triton.InferInput("image", [len(images)], "BYTES")
    given.set_data_from_numpy(np.array(images, dtype=np.object_))
    return given


@pytest.fixture
async def aio(server):
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


async def test_everything_that_can_be_read(aio):
    assert await aio.is_server_live()
    assert await aio.is_server_ready()
    assert await aio.is_model_ready("digits")
    assert not await aio.is_model_ready("nope")
    assert (await aio.get_server_metadata(as_json=True))["name"] == "beyond-serve"
    assert (await aio.get_model_metadata("digits", as_json=True))["outputs"][0]["name"] == "scores"
    config = (await aio.get_model_config("digits", as_json=True))["config"]
    assert (config["name"], config["max_batch_size"]) == ("digits", 32)
    stats = await aio.get_inference_statistics("digits", as_json=True)
    assert stats["model_stats"][0]["name"] == "digits"
    assert (await aio.get_model_repository_index(as_json=True))["models"][0]["state"] == "READY"
    assert "trace_level" in (await aio.get_trace_settings(as_json=True))["settings"]
    assert "log_info" in (await aio.get_log_settings(as_json=True))["settings"]


async def test_images(aio, model):
    result = await aio.infer("digits", [image_input(b"one", b"two")], request_id="5")
    np.testing.assert_array_equal(result.as_numpy("scores"), [[0, 0.5, 0.25], [1, 1.5, 1.25]])
    assert result.get_response().id == "5"
    assert model.given == [[b"one", b"two"]]


async def test_the_tensor_input(aio, model):
    rows = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    given = triton.InferInput("input", rows.shape, "FP32")
    given.set_data_from_numpy(rows)
    result = await aio.infer("digits", [given], outputs=[triton.InferRequestedOutput("scores")])
    assert result.as_numpy("scores").shape == (2, 3)
    np.testing.assert_array_equal(model.given[0], rows)


async def test_classification_with_labels(aio):
    output = triton.InferRequestedOutput("scores", class_count=2)
    result = await aio.infer("digits", [image_input(b"x")], outputs=[output])
    assert result.as_numpy("scores").tolist() == [[b"0.5:1:one", b"0.25:2:two"]]


async def test_probabilities_by_our_parameter(aio):
    result = await aio.infer("digits", [image_input(b"x")], parameters={"top_k": 2})
    (best, second) = [element.split(b":") for element in result.as_numpy("scores")[0]]
    assert (best[1:], second[1:]) == ([b"1", b"one"], [b"2", b"two"])
    exps = np.exp([0, 0.5, 0.25])
    np.testing.assert_allclose([float(best[0]), float(second[0])], (exps / exps.sum())[[1, 2]], rtol=1e-6)


async def test_compression_timeout_priority_and_headers(aio, model):
    result = await aio.infer(
        "digits",
        [image_input(bytes(5000))],
        compression_algorithm="gzip",
        timeout=9_000_000,
        priority=2,
        headers={"x-trace": "1"},
    )
    assert result.as_numpy("scores") is not None
    assert (model.timeouts_us, model.priorities) == ([9_000_000], [2])


async def test_errors_arrive_as_its_own_exception(aio):
    with pytest.raises(InferenceServerException) as raised:
        await aio.infer("nope", [image_input(b"x")])
    assert "NOT_FOUND" in raised.value.status()
    assert "there is no model 'nope'" in raised.value.message()


async def test_load_and_unload(aio, repository):
    await aio.load_model("digits")
    await aio.unload_model("digits")
    assert repository.changes == [("load", "digits"), ("unload", "digits")]


async def test_the_asyncio_stream(aio):
    async def requests():
        for number in range(3):
            yield {"model_name": "digits", "inputs": [image_input(b"x")], "request_id": str(number)}
        yield {"model_name": "nope", "inputs": [image_input(b"x")], "request_id": "bad"}

    seen = {}
    async for result, error in aio.stream_infer(requests()):
        if error is None:
            seen[result.get_response().id] = result.as_numpy("scores").shape
        else:
            seen["error"] = str(error)
    assert seen.pop("error").endswith("there is no model 'nope'; load it")
    assert seen == {"0": (1, 3), "1": (1, 3), "2": (1, 3)}


async def test_the_blocking_client_and_its_stream(repository):
    """In a thread, as a user's program would be beside the server's loop."""

    def work(port):
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            first = client.infer("digits", [image_input(b"x")]).as_numpy("scores")
            answers = queue.Queue()
            client.start_stream(lambda result, error: answers.put((result, error)))
            for _ in range(3):
                client.async_stream_infer("digits", [image_input(b"x")])
            streamed = [answers.get(timeout=10) for _ in range(3)]
            client.stop_stream()
            return first.shape, [error for _, error in streamed]

    async with serving(repository) as server:
        assert await asyncio.to_thread(work, server.port) == ((1, 3), [None, None, None])
