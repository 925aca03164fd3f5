"""Binary tensors, raw requests, shared memory and compressed bodies."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beyond_serve.server.v2 import infer_route
from beyond_serve.wire.bytes_tensor import encode_bytes
from tests.server.oip.fakes import FakeModel, engine_info
from tests.server.v2.asking import MAX_BODY, Reply, Server

ROWS = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
IMAGES = encode_bytes([b"\xff\xd8", b"\x89PNG"])
HEADER = "Inference-Header-Content-Length"


def image(size: int = len(IMAGES), shape: list[int] | None = None) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"name": "image", "datatype": "BYTES", "shape": shape or [2], "parameters": parameters}


def pixels(size: int = ROWS.nbytes) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"name": "pixels", "datatype": "FP32", "shape": [1, 3, 2, 2], "parameters": parameters}


def one(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": [given], **more}


def split(reply: Reply) -> tuple[dict[str, Any], bytes]:
    assert (reply.status, reply.content_type) == (200, "application/octet-stream"), reply
    length = int(reply.headers[HEADER])
    return json.loads(reply.body[:length]), reply.body[length:]


class TestTensors:
    def test_images(self) -> None:
        server = Server()
        assert server.infer(one(image()), IMAGES).status == 200
        assert server.model.submitted[0].rows == [b"\xff\xd8", b"\x89PNG"]

    def test_a_tensor_wherever_it_lies(self) -> None:
        for padding in range(4):
            server = Server()
            text = json.dumps(one(pixels())).encode() + b" " * padding
            assert server.infer(text, ROWS.tobytes()).status == 200
            rows = server.model.submitted[0].rows
            assert rows.flags.aligned
            np.testing.assert_array_equal(rows, ROWS)

    def test_everything_binary_back(self) -> None:
        request = one(image(), parameters={"binary_data_output": True})
        document, blobs = split(Server().infer(request, IMAGES))
        sizes = [output["parameters"]["binary_data_size"] for output in document["outputs"]]
        assert sizes == [24, 32]
        assert not any("data" in output for output in document["outputs"])
        np.testing.assert_array_equal(np.frombuffer(blobs, np.float32, 6), [0.5, 0.25, -1, 0.5, 1.25, -1])
        np.testing.assert_array_equal(np.frombuffer(blobs, np.int64, 4, 24), [0, 0, 1, 10])

    def test_an_outputs_own_flag_wins(self) -> None:
        outputs = [{"name": "scores", "parameters": {"binary_data": False}}, {"name": "features"}]
        request = one(image(), outputs=outputs, parameters={"binary_data_output": True})
        document, blobs = split(Server().infer(request, IMAGES))
        scores, features = document["outputs"]
        assert scores["data"] == [0.5, 0.25, -1, 0.5, 1.25, -1]
        assert features["parameters"] == {"binary_data_size": 32}
        assert len(blobs) == 32

    def test_classes(self) -> None:
        outputs = [{"name": "scores", "parameters": {"classification": 1, "binary_data": True}}]
        document, blobs = split(Server().infer(one(image(), outputs=outputs), IMAGES))
        assert document["outputs"][0]["shape"] == [2, 1]
        assert blobs == encode_bytes([b"0.5:0:ant", b"1.25:1:bee"])

    def test_binary_can_say_nan(self) -> None:
        model = FakeModel(answers_at_once=True)
        model.outputs = lambda count: {"scores": np.full((count, 3), np.nan, np.float32)}
        outputs = [{"name": "scores", "parameters": {"binary_data": True}}]
        _, blobs = split(Server(model).infer(one(image(), outputs=outputs), IMAGES))
        assert np.isnan(np.frombuffer(blobs, np.float32)).all()

    def test_a_header_over_json_alone(self) -> None:
        document = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}
        text = json.dumps(document).encode()
        assert Server().infer(text, headers={HEADER: len(text)}).status == 200

    @pytest.mark.parametrize(
        ("given", "blob", "said"),
        [
            (image(), IMAGES[:-1], "binary_data_size of 14, the body has only 13 left"),
            (image(), IMAGES + b"x", "1 bytes follow the last tensor's"),
            (image(4), IMAGES[:4], "need at least 8 bytes, 4 were sent"),
            (image(10), IMAGES[:10], "ends inside element 2"),
            (image(shape=[1]), IMAGES, "follow the last of 1 BYTES"),
            (image(shape=[3]), IMAGES, "ends inside element 3"),
            (image(shape=[2**50]), IMAGES, "at most 16"),
            (pixels(4), b"1234", "takes 48 bytes, 4 were sent"),
            (image() | {"parameters": {"binary_data_size": -1}}, IMAGES, "'binary_data_size' is -1"),
            (image() | {"parameters": {"binary_data_size": "14"}}, IMAGES, "'binary_data_size' is '14'"),
            (image() | {"parameters": {"binary_data_size": 2**70}}, IMAGES, "'binary_data_size' is"),
            (image() | {"data": ["a", "b"]}, IMAGES, "more than once where its data is"),
        ],
    )
    def test_sizes_that_disagree(self, given: dict[str, Any], blob: bytes, said: str) -> None:
        server = Server()
        reply = server.infer(one(given), blob)
        assert reply.status == 400
        assert said in reply.error
        assert server.model.submitted == []

    @pytest.mark.parametrize("length", ["-1", "x", "", "1e3", "999999"])
    def test_a_header_length_that_cannot_be(self, length: str) -> None:
        reply = Server().infer(one(image()), IMAGES, headers={HEADER: length})
        assert (reply.status, HEADER in reply.error) == (400, True)

    def test_a_header_length_in_the_middle_of_the_json(self) -> None:
        reply = Server().infer(one(image()), IMAGES, headers={HEADER: 5})
        assert (reply.status, "no valid JSON" in reply.error) == (400, True)


class TestRaw:
    def test_a_jpeg(self) -> None:
        server = Server()
        document, blobs = split(server.infer(b"\xff\xd8jpeg", headers={HEADER: 0}))
        assert server.model.submitted[0].rows == [b"\xff\xd8jpeg"]
        assert [output["shape"] for output in document["outputs"]] == [[1, 3], [1, 2]]
        assert len(blobs) == 12 + 16

    def test_a_row(self) -> None:
        server = Server(FakeModel(engine_info(image_shape=None), answers_at_once=True))
        assert server.infer(ROWS.tobytes(), headers={HEADER: 0}).status == 200
        np.testing.assert_array_equal(server.model.submitted[0].rows, ROWS)
        reply = server.infer(ROWS.tobytes()[1:], headers={HEADER: 0})
        assert (reply.status, "no whole number of rows" in reply.error) == (400, True)


class TestSharedMemory:
    def test_in_and_out(self, tmp_path: Path) -> None:
        (tmp_path / "in").write_bytes(IMAGES)
        (tmp_path / "out").write_bytes(bytes(32))
        server = Server(shm=True, directory=tmp_path)
        for name, size in (("in", len(IMAGES)), ("out", 32)):
            body = {"key": f"/{name}", "offset": 0, "byte_size": size}
            assert server.post(f"/v2/systemsharedmemory/region/{name}/register", body).status == 200
        given = image() | {
            "parameters": {"shared_memory_region": "in", "shared_memory_byte_size": len(IMAGES)}
        }
        place = {"shared_memory_region": "out", "shared_memory_byte_size": 24, "shared_memory_offset": 8}
        reply = server.infer(one(given, outputs=[{"name": "scores", "parameters": place}]))
        assert server.model.submitted[0].rows == [b"\xff\xd8", b"\x89PNG"]
        assert (reply.content_type, HEADER in reply.headers) == ("application/json", False)
        (output,) = reply.json()["outputs"]
        assert output == {"name": "scores", "datatype": "FP32", "shape": [2, 3], "parameters": place}
        written = np.frombuffer((tmp_path / "out").read_bytes(), np.float32, 6, 8)
        np.testing.assert_array_equal(written, [0.5, 0.25, -1, 0.5, 1.25, -1])
        server.regions.close()

    def test_without_the_flag(self) -> None:
        given = image() | {"parameters": {"shared_memory_region": "in", "shared_memory_byte_size": 14}}
        reply = Server().infer(one(given))
        assert (reply.status, "--allow-client-shm" in reply.error) == (400, True)


def many_rows(model: FakeModel) -> None:
    model.outputs = lambda count: {"scores": np.zeros((count, 50_000), np.float32)}


class TestContentCoding:
    JSON = json.dumps(
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}
    ).encode()

    @pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "deflate", "identity", ""])
    def test_requests(self, coding: str) -> None:
        name = coding.lower().removeprefix("x-")
        body = {"gzip": gzip.compress, "deflate": zlib.compress}.get(name, bytes)(self.JSON)
        assert Server().infer(body, headers={"Content-Encoding": coding}).status == 200

    def test_the_header_length_counts_decoded_bytes(self) -> None:
        text = json.dumps(one(image())).encode()
        headers = {"Content-Encoding": "gzip", HEADER: len(text)}
        server = Server()
        assert server.infer(gzip.compress(text + IMAGES), headers=headers).status == 200

    @pytest.mark.parametrize(
        ("coding", "body", "said"),
        [
            ("gzip", b"", "cut off"),
            ("gzip", b"plain", "no valid gzip"),
            ("gzip", gzip.compress(JSON)[:-5], "cut off"),
            ("gzip", gzip.compress(JSON) + b"more", "no valid gzip"),
            ("deflate", gzip.compress(JSON), "no valid deflate"),
            ("deflate", zlib.compress(JSON) + b"more", "something follows"),
            ("br", JSON, "'br' is not served"),
            ("gzip, deflate", JSON, "is not served"),
        ],
    )
    def test_requests_that_cannot_be_decoded(self, coding: str, body: bytes, said: str) -> None:
        reply = Server().infer(body, headers={"Content-Encoding": coding})
        assert (reply.status, said in reply.error) == (400, True), reply.body

    async def test_a_bomb_is_stopped(self) -> None:
        bomb = gzip.compress(bytes(MAX_BODY + 1))
        asked = Server().start("POST", "/v2/models/m/infer", bomb, {"Content-Encoding": "gzip"})
        await asked.ended()
        assert asked.reply.status == 413
        assert f"more than {MAX_BODY} bytes" in asked.reply.error

    async def test_a_large_body_is_decoded_beside_the_loop(self) -> None:
        text = self.JSON + b" " * infer_route.INLINE_BYTES
        server = Server()
        asked = server.start("POST", "/v2/models/m/infer", gzip.compress(text), {"Content-Encoding": "gzip"})
        assert not asked.answered
        await asked.ended()
        assert asked.reply.status == 200

    async def test_who_leaves_meanwhile_is_not_served(self) -> None:
        text = self.JSON + b" " * infer_route.INLINE_BYTES
        server = Server()
        asked = server.start("POST", "/v2/models/m/infer", gzip.compress(text), {"Content-Encoding": "gzip"})
        asked.leave()
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert server.model.submitted == []

    @pytest.mark.parametrize(
        ("accepted", "used"),
        [
            ("gzip", "gzip"),
            ("deflate", "deflate"),
            ("gzip, deflate, br", "gzip"),
            ("gzip;q=0.1, deflate;q=0.9", "deflate"),
            ("gzip;q=0, *", "deflate"),
            ("*;q=0", None),
            ("br", None),
            ("gzip;q=x", None),
        ],
    )
    def test_answers(self, accepted: str, used: str | None) -> None:
        model = FakeModel(answers_at_once=True)
        model.outputs = lambda count: {"scores": np.zeros((count, 500), np.float32)}
        document = one(image(), outputs=[{"name": "scores"}])
        reply = Server(model).infer(document, IMAGES, headers={"Accept-Encoding": accepted})
        assert reply.headers.get("Content-Encoding") == used
        decode = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[used]
        assert len(json.loads(decode(reply.body))["outputs"][0]["data"]) == 1000

    def test_small_answers_are_left_alone(self) -> None:
        reply = Server().infer(one(image()), IMAGES, headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in reply.headers

    async def test_large_answers_are_encoded_beside_the_loop(self) -> None:
        model = FakeModel(answers_at_once=True)
        many_rows(model)
        document = one(image(), outputs=[{"name": "scores", "parameters": {"binary_data": True}}])
        text = json.dumps(document).encode()
        headers = {HEADER: len(text), "Accept-Encoding": "gzip"}
        asked = Server(model).start("POST", "/v2/models/m/infer", text + IMAGES, headers)
        assert not asked.answered
        await asked.ended()
        length = int(asked.reply.headers[HEADER])
        assert len(gzip.decompress(asked.reply.body)) == length + 400_000
        assert len(model.replied) == 1
