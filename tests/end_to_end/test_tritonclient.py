"""Triton's own clients, unchanged, against the real server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from tests.end_to_end.serving import EXAMPLES, Server

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
IMAGES = np.array([(EXAMPLES / f"{digit}.jpg").read_bytes() for digit in DIGITS], dtype=object)


@pytest.fixture(params=["http", "grpc"])
def triton(request: pytest.FixtureRequest, server: Server) -> Any:
    """(module, client) of one transport."""
    module = triton_http if request.param == "http" else triton_grpc
    address = server.http.removeprefix("http://") if request.param == "http" else server.grpc
    client = module.InferenceServerClient(address)
    yield module, client
    client.close()


def image_input(module: Any, images: np.ndarray) -> Any:
    tensor = module.InferInput("image", [len(images)], "BYTES")
    tensor.set_data_from_numpy(images)
    return tensor


def test_several_images_in_one_request(triton: Any) -> None:
    module, client = triton
    result = client.infer("demo", [image_input(module, IMAGES)])
    assert result.as_numpy("logits").shape == (10, 10)
    assert result.as_numpy("logits").argmax(axis=1).tolist() == list(range(10))


def test_classification_names_the_labels(triton: Any) -> None:
    module, client = triton
    wanted = module.InferRequestedOutput("logits", class_count=2)
    result = client.infer("demo", [image_input(module, IMAGES[7:8])], outputs=[wanted])
    best = result.as_numpy("logits").reshape(-1)[0].decode()
    assert best.endswith(":7:seven")


def test_the_models_own_tensor(triton: Any) -> None:
    module, client = triton
    name = next(
        spec["name"] if isinstance(spec, dict) else spec.name
        for spec in inputs_of(client.get_model_metadata("demo"))
        if (spec["datatype"] if isinstance(spec, dict) else spec.datatype) == "FP32"
    )
    rows = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    tensor = module.InferInput(name, list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    together = client.infer("demo", [tensor]).as_numpy("logits")
    assert together.shape == (3, 10)
    one = module.InferInput(name, [1, 3, 32, 32], "FP32")
    one.set_data_from_numpy(rows[1:2])
    alone = client.infer("demo", [one]).as_numpy("logits")
    np.testing.assert_allclose(alone[0], together[1], rtol=0.1, atol=0.1)


def inputs_of(metadata: Any) -> Any:
    return metadata["inputs"] if isinstance(metadata, dict) else metadata.inputs


def test_health_metadata_configuration_statistics_and_index(triton: Any) -> None:
    _, client = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("demo")
    assert not client.is_model_ready("nobody")
    for answer in (
        client.get_server_metadata(),
        client.get_model_config("demo"),
        client.get_inference_statistics("demo"),
        client.get_model_repository_index(),
    ):
        assert "beyond-serve" in str(answer) or "demo" in str(answer)


def test_unload_and_load(triton: Any) -> None:
    module, client = triton
    client.unload_model("demo")
    assert not client.is_model_ready("demo")
    with pytest.raises(InferenceServerException):
        client.infer("demo", [image_input(module, IMAGES[:1])])
    client.load_model("demo")
    assert client.is_model_ready("demo")
    assert client.infer("demo", [image_input(module, IMAGES[:1])]).as_numpy("logits").argmax() == 0


def test_system_shared_memory(triton: Any) -> None:
    module, client = triton
    rows = np.zeros((2, 3, 32, 32), np.float32)
    region = shm.create_shared_memory_region("rows", "/beyond_serve_test_rows", rows.nbytes)
    try:
        shm.set_shared_memory_region(region, [rows])
        client.register_system_shared_memory("rows", "/beyond_serve_test_rows", rows.nbytes)
        tensor = module.InferInput("pixel_values", list(rows.shape), "FP32")
        tensor.set_shared_memory("rows", rows.nbytes)
        assert client.infer("demo", [tensor]).as_numpy("logits").shape == (2, 10)
        client.unregister_system_shared_memory("rows")
        with pytest.raises(InferenceServerException):
            client.infer("demo", [tensor])
    finally:
        shm.destroy_shared_memory_region(region)


@pytest.mark.parametrize(
    ("inputs", "outputs", "named"),
    [
        ([("image", [1], "BYTES", None)], ["nothing"], "nothing"),
        ([("nothing", [1], "BYTES", None)], [], "nothing"),
        ([("pixel_values", [1, 3, 31, 32], "FP32", np.float32)], [], "31"),
        ([("pixel_values", [1, 3, 32, 32], "INT32", np.int32)], [], "INT32"),
    ],
)
def test_what_is_wrong_is_named(triton: Any, inputs: Any, outputs: Any, named: str) -> None:
    module, client = triton
    tensors = []
    for name, shape, datatype, dtype in inputs:
        tensor = module.InferInput(name, shape, datatype)
        tensor.set_data_from_numpy(IMAGES[:1] if dtype is None else np.zeros(shape, dtype))
        tensors.append(tensor)
    with pytest.raises(InferenceServerException, match=named):
        client.infer("demo", tensors, outputs=[module.InferRequestedOutput(name) for name in outputs])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_and_answers(server: Server, algorithm: str) -> None:
    with triton_http.InferenceServerClient(server.http.removeprefix("http://")) as client:
        result = client.infer(
            "demo",
            [image_input(triton_http, IMAGES)],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
    assert result.as_numpy("logits").argmax(axis=1).tolist() == list(range(10))


def test_a_raw_jpeg(server: Server) -> None:
    from tests.end_to_end.serving import curl

    status, body = curl(
        *("-H", "Inference-Header-Content-Length: 0", "-H", "Content-Type: application/octet-stream"),
        *("--data-binary", f"@{EXAMPLES / 'five.jpg'}", f"{server.http}/v2/models/demo/infer"),
    )
    assert status == 200
    assert np.frombuffer(body[-40:], np.float32).argmax() == 5
