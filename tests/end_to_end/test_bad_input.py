"""Each bad input gets one clear line and the right status, and the server serves on."""

from __future__ import annotations

import json
import socket
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.serving import EXAMPLES, Server, curl, refused, serving

SEVEN = (EXAMPLES / "seven.jpg").read_bytes()


def jpeg_that_claims(width: int, height: int) -> bytes:
    """A real JPEG whose header lies about its size."""
    start = SEVEN.index(b"\xff\xc0")
    return SEVEN[: start + 5] + struct.pack(">HH", height, width) + SEVEN[start + 9 :]


def bomb_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


BODIES = {
    "empty": (b"", 415, "empty"),
    "text": (b"hello, I am text", 415, "image"),
    "truncated JPEG": (SEVEN[: len(SEVEN) // 2], 422, "truncated"),
    "truncated head": (SEVEN[:10], 422, ""),
    "JPEG of 65500x65500": (jpeg_that_claims(65500, 65500), 413, "65500x65500"),
    "bomb PNG": (bomb_png(30_000, 30_000), 413, "30000x30000"),
    "over the body limit": (bytes(5 * 1024 * 1024), 413, ""),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_image_gets_one_clear_line(server: Server, name: str) -> None:
    body, expected, named = BODIES[name]
    status, answer = curl("--data-binary", "@-", f"{server.http}/predict", data=body)
    error = json.loads(answer)["error"]
    assert status == expected
    assert named in error["message"]
    assert "\n" not in error["message"]
    assert "Traceback" not in answer.decode()
    assert still_serves(server)


def still_serves(server: Server) -> bool:
    status, body = curl("--data-binary", "@-", f"{server.http}/predict?top_k=1", data=SEVEN)
    return status == 200 and json.loads(body)["predictions"][0]["label"] == "seven"


def picture(width: int, height: int, kind: str) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), (90, 20, 200)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def imagenet() -> Iterator[Server]:
    """A server that resizes the short edge to 256, where strips would become huge."""
    with serving("--model", "null:224") as running:
        yield running


@pytest.mark.parametrize(("width", "height"), [(3, 59424), (10_000, 1)])
def test_a_strip_that_resizing_would_blow_up_is_refused(imagenet: Server, width: int, height: int) -> None:
    body = picture(width, height, "JPEG")
    status, answer = curl("--data-binary", "@-", f"{imagenet.http}/predict", data=body)
    assert status == 413
    assert f"{width}x{height}" in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_one_pixel_is_an_image(imagenet: Server, kind: str) -> None:
    body = picture(1, 1, kind)
    status, _ = curl("--data-binary", "@-", f"{imagenet.http}/predict", data=body)
    assert status == 200


def test_the_content_type_does_not_matter_to_an_image(server: Server) -> None:
    status, _ = curl(
        "-H", "Content-Type: application/json", "--data-binary", "@-", f"{server.http}/predict", data=SEVEN
    )
    assert status == 200


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        ("model=nobody", 404, "nobody"),
        ("top_k=0", 400, "top_k"),
        ("top_k=many", 400, "top_k"),
        ("timeout_ms=-1", 400, "timeout_ms"),
        ("trace=maybe", 400, "trace"),
        ("topk=3", 400, "topk"),
    ],
)
def test_a_bad_query_is_named(server: Server, query: str, status: int, named: str) -> None:
    got, answer = curl("--data-binary", "@-", f"{server.http}/predict?{query}", data=SEVEN)
    error = json.loads(answer)["error"]
    assert got == status
    assert named in error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    ("body", "headers", "named"),
    [
        (b"{", [], "JSON"),
        (b'{"inputs": []}', [], "input"),
        (
            b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":9}}]}abc',
            ["-H", "Inference-Header-Content-Length: 9999"],
            "9999",
        ),
        (b'{"inputs":[{"name":"pixel_values","datatype":"FP32","shape":[1,3,9,9],"data":[1]}]}', [], "shape"),
        (b'{"inputs":[{"name":"pixel_values","datatype":"INT8","shape":[1],"data":[1]}]}', [], "INT8"),
        (b'{"inputs":[{"name":"nothing","datatype":"FP32","shape":[1],"data":[1]}]}', [], "nothing"),
    ],
)
def test_a_bad_inference_request_is_named(
    server: Server, body: bytes, headers: list[str], named: str
) -> None:
    url = f"{server.http}/v2/models/demo/infer"
    status, answer = curl(*headers, "--data-binary", "@-", url, data=body)
    assert status == 400
    message = json.loads(answer)["error"]
    assert named in message
    assert "Traceback" not in message


def test_nan_rows_fail_with_a_typed_error(server: Server) -> None:
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "pixel_values",
                    "datatype": "FP32",
                    "shape": [1, 3, 32, 32],
                    "parameters": {"binary_data_size": 3 * 32 * 32 * 4},
                }
            ]
        }
    ).encode()
    body = head + struct.pack("<f", float("nan")) * (3 * 32 * 32)
    status, answer = curl(
        *("-H", f"Inference-Header-Content-Length: {len(head)}", "--data-binary", "@-"),
        f"{server.http}/v2/models/demo/infer",
        data=body,
    )
    assert status == 400
    assert "NaN" in json.loads(answer)["error"]
    assert still_serves(server)


def test_an_unknown_model_is_404_on_every_route(server: Server) -> None:
    for method, path in (("GET", ""), ("GET", "/config"), ("GET", "/stats"), ("POST", "/infer")):
        status, answer = curl("-X", method, "-d", "{}", f"{server.http}/v2/models/nobody{path}")
        assert status == 404
        assert "nobody" in json.loads(answer)["error"]


class TestStart:
    """What cannot start says why in one line and exits 2."""

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ((), "no model to serve"),
            (("--model", "/nowhere/model.onnx"), "/nowhere/model.onnx"),
            (("--model", "README.md"), "README.md"),
            (("--model", "demo", "--trace-file", "/nowhere/trace.json"), "/nowhere/trace.json"),
            (("--model", "demo", "--tls-cert", "/nowhere/c", "--tls-key", "/nowhere/k"), "/nowhere/c"),
            (("--model", "demo", "--engine", "tensorrt"), "tensorrt"),
            (("--config", "/nowhere/serve.toml"), "/nowhere/serve.toml"),
        ],
    )
    def test_one_clear_line(self, arguments: tuple[str, ...], named: str) -> None:
        status, said = refused("--http", "127.0.0.1:0", "--grpc", "off", *arguments)
        lines = said.strip().splitlines()
        assert status == 2
        assert len(lines) == 1
        assert lines[0].startswith("beyond-serve: ")
        assert named in lines[0]

    def test_a_file_that_is_no_model(self, tmp_path: Path) -> None:
        path = tmp_path / "no.onnx"
        path.write_bytes(b"this is no model")
        status, said = refused("--model", str(path), "--http", "127.0.0.1:0", "--grpc", "off")
        assert status == 2
        assert len(said.strip().splitlines()) == 1
        assert "no.onnx" in said

    def test_an_unknown_key_in_the_configuration(self, tmp_path: Path) -> None:
        path = tmp_path / "serve.toml"
        path.write_text('max-btach = 3\n[models.m]\npath = "m.onnx"\n')
        status, said = refused("--config", str(path))
        assert status == 2
        assert "max-btach" in said
        assert len(said.strip().splitlines()) == 1

    @pytest.mark.parametrize("transport", ["http", "grpc"])
    def test_a_port_in_use(self, transport: str) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            other = "grpc" if transport == "http" else "http"
            status, said = refused(
                "--model", "null:", f"--{transport}", f"127.0.0.1:{port}", f"--{other}", "off"
            )
        assert status == 2
        assert str(port) in said
        assert len(said.strip().splitlines()) == 1
