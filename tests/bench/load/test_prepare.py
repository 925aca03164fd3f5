from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.plan import WirePlan
from beyond_serve.bench.load.prepare import http_request, model_inputs, prepare
from beyond_serve.bench.load.spec import LoadSpec, Target
from beyond_serve.client import ModelMetadata, TensorMetadata
from beyond_serve.client.endpoint import parse_endpoint
from beyond_serve.errors import BeyondError, ConfigError
from beyond_serve.wire.messages import ModelInferRequest
from tests.bench.load.scripted_server import and_close, ok, parts, scripted
from tests.bench.load.tables import spec
from tests.client.fake_server import FakeModel
from tests.client.serving import serve
from tests.client.test_tls import Certificate, certificate

__all__ = ["certificate"]


def load_on(url: str, **target: Any) -> LoadSpec:
    return spec(ClosedLoop(1), target=Target(url, **target), timeout_s=5.0)


async def prepared(given: LoadSpec) -> WirePlan:
    """On another thread: it blocks, and the servers are here."""
    return await asyncio.to_thread(prepare, given)


async def refusal(given: LoadSpec) -> BeyondError:
    with pytest.raises(BeyondError) as caught:
        await prepared(given)
    assert "\n" not in caught.value.message
    assert caught.value.hint or caught.value.message
    return caught.value


def test_a_request_is_whole() -> None:
    endpoint = parse_endpoint("http://h:1/base", token="t")
    made = http_request(
        endpoint, "/predict", {"model": "a b"}, {"Content-Type": "image/jpeg"}, b"xyz", traced=True
    )
    assert made == (
        b"POST /base/predict?model=a+b&trace=1 HTTP/1.1\r\nHost: h:1\r\nContent-Type: image/jpeg\r\n"
        b"authorization: Bearer t\r\nContent-Length: 3\r\n\r\nxyz"
    )


async def test_images_go_to_predict_as_they_are() -> None:
    async with scripted([ok()]) as server:
        plan = await prepared(load_on(f"http://127.0.0.1:{server.port}"))
    assert plan.payloads[0].endswith(b"\r\n\r\nxxxxxxxxxx")
    assert server.requests == [b"xxxxxxxxxx"]
    assert server.heads[0].startswith(b"POST /predict?trace=1 HTTP/1.1\r\n")


async def test_traces_are_asked_for_only_if_wanted() -> None:
    async with scripted([ok()]) as server:
        await prepared(replace(load_on(f"http://127.0.0.1:{server.port}"), traces=False))
    assert server.heads[0].startswith(b"POST /predict HTTP/1.1\r\n")


@pytest.mark.parametrize(("kind", "protocol"), [("http", "v2-http"), ("grpc", "v2-grpc")])
async def test_the_image_input_comes_from_the_models_metadata(kind: str, protocol: str) -> None:
    async with serve(kind, FakeModel()) as url:
        (payload,) = (await prepared(load_on(url, protocol=protocol))).payloads
    if kind == "http":
        assert payload.startswith(b"POST /v2/models/demo/infer?trace=1 HTTP/1.1\r\n")
        assert b'{"name":"image","datatype":"BYTES","shape":[1]' in payload
        assert payload.endswith(b"\x0a\x00\x00\x00xxxxxxxxxx")
    else:
        (sent,) = ModelInferRequest.FromString(payload).inputs
        assert (sent.name, sent.datatype, list(sent.shape)) == ("image", "BYTES", [1])


def test_tensors_have_the_shape_and_type_of_the_metadata() -> None:
    pixels = TensorMetadata("x", "FP32", (-1, 3, -1, -1))
    mask = TensorMetadata("mask", "BOOL", (-1, 7))
    given = load_on("http://127.0.0.1:1", protocol="v2-http", payload="tensor")
    described = ModelMetadata("m", ("1",), "", (pixels, mask, TensorMetadata("image", "BYTES", (-1,))), ())
    ((first, second),) = model_inputs(given, described)
    assert first.shape == (1, 3, 224, 224)
    assert isinstance(first.data, np.ndarray)
    assert first.data.dtype == np.float32
    assert first.data.std() == pytest.approx(1, abs=0.02)
    assert isinstance(second.data, np.ndarray)
    assert second.data.shape == (1, 7)
    assert np.array_equal(first.data, model_inputs(given, described)[0][0].data)


@pytest.mark.parametrize(("payload", "datatype"), [("image", "FP32"), ("tensor", "BYTES")])
def test_a_payload_that_the_model_does_not_take_is_refused(payload: str, datatype: str) -> None:
    described = ModelMetadata("m", ("1",), "", (TensorMetadata("x", datatype, (-1,)),), ())
    with pytest.raises(ConfigError, match="'m' takes no"):
        model_inputs(load_on("http://127.0.0.1:1", protocol="v2-http", payload=payload), described)


async def test_nothing_listening_is_one_clear_line() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    for url, protocol in ((f"http://127.0.0.1:{port}", "predict"), (f"grpc://127.0.0.1:{port}", "v2-grpc")):
        error = await refusal(load_on(url, protocol=protocol, model="m"))
        assert f"cannot reach {url}" in error.message


@pytest.mark.parametrize(
    ("kind", "protocol"), [("http", "predict"), ("http", "v2-http"), ("grpc", "v2-grpc")]
)
async def test_an_unknown_model_is_one_clear_line(kind: str, protocol: str) -> None:
    async with serve(kind, FakeModel()) as url:
        error = await refusal(load_on(url, protocol=protocol, model="nobody"))
    assert error.code == "model_not_found"


async def test_a_wrong_token_is_one_clear_line() -> None:
    async with serve("http", FakeModel(token="right")) as url:
        assert (await refusal(load_on(url, token="wrong"))).code == "unauthorized"


async def test_a_server_that_is_only_overloaded_passes() -> None:
    busy = b'HTTP/1.1 429 No\r\ncontent-length: 49\r\n\r\n{"error":{"code":"queue_full","message":"is full"}}'
    async with scripted([parts(busy)]) as server:
        assert (await prepared(load_on(f"http://127.0.0.1:{server.port}"))).port == server.port


async def test_something_else_than_http_is_one_clear_line() -> None:
    async with scripted([and_close(parts(b"SSH-2.0-OpenSSH_9.6\r\n"))]) as server:
        error = await refusal(load_on(f"http://127.0.0.1:{server.port}"))
    assert "does not answer in HTTP/1.1" in error.message


async def test_a_certificate_that_is_not_trusted_is_one_clear_line(certificate: Certificate) -> None:
    async with scripted([ok()], tls=certificate.context) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert "certificate is not trusted" in (await refusal(load_on(url))).message
        assert (await prepared(load_on(url, tls_ca=str(certificate.path)))).tls is not None
        assert (await prepared(load_on(url, tls_insecure=True))).tls is not None


async def test_tls_on_a_plain_port_is_one_clear_line() -> None:
    async with scripted([ok()]) as server:
        given = load_on(f"https://127.0.0.1:{server.port}", tls_insecure=True)
        error = await refusal(replace(given, timeout_s=0.05))
    assert "cannot reach" in error.message


async def test_a_host_that_is_none_is_one_clear_line() -> None:
    assert "cannot find the host" in (await refusal(load_on("http://no-such-host.invalid:1"))).message


@pytest.mark.parametrize(
    "make",
    [
        lambda: Target("127.0.0.1:8000"),
        lambda: Target("http://x:1", "v2-grpc"),
        lambda: Target("grpc://x:1", "predict"),
        lambda: Target("http://x:1", payload="tensor"),
        lambda: Target("grpc://x:1", "v2-grpc", tls_insecure=True),
        lambda: spec(ClosedLoop(1), duration_s=None),
        lambda: spec(ClosedLoop(1), workers=2),
        lambda: spec(ClosedLoop(1), duration_s=-1.0),
        lambda: spec(ClosedLoop(1), timeout_s=0.0),
        lambda: spec(ClosedLoop(1), warmup_s=-1.0),
        lambda: spec(ClosedLoop(1), cores=(4096,)),
    ],
)
def test_specifications_that_cannot_be_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()


async def test_an_authority_file_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    error = await refusal(load_on("https://127.0.0.1:1", tls_ca=str(tmp_path / "none.pem")))
    assert "none.pem" in error.message
