"""Binding, TLS, the token, limits, and how the server ends."""

from __future__ import annotations

import asyncio
import datetime

import grpc
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from beyond_serve.errors import ConfigError
from beyond_serve.server.config import build_config
from beyond_serve.server.grpc.options import GrpcOptions
from beyond_serve.server.grpc.server import GrpcServer
from beyond_serve.server.oip.shared_memory import RegionTable
from tests.server.grpc.conftest import Client, connected, serving
from tests.server.grpc.fakes import FakeModel, FakeRepository
from tests.server.grpc.test_unary_infer import image_request


async def test_a_port_in_use_is_said_so(server, repository):
    second = GrpcServer(GrpcOptions(port=server.port), repository, RegionTable())
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        await second.start()
    assert await second.stop(0)


async def test_a_server_that_never_started_stops(repository):
    assert await GrpcServer(GrpcOptions(port=0), repository, RegionTable()).stop(1)


async def test_stopping_answers_what_was_accepted_and_refuses_the_rest(server, client, model):
    model.hold, model.arrived = True, asyncio.Event()
    accepted = client.call("ModelInfer", image_request(b"a"))
    await model.arrived.wait()
    stopping = asyncio.ensure_future(server.stop(20))
    await asyncio.sleep(0)
    late = await client.error("ModelInfer", image_request(b"b"))
    # CANCELLED where the call crossed with gRPC's announcement of the end on its connection.
    assert late.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert len(model.given) == 1
    model.finish()
    assert len((await accepted).raw_output_contents) == 1
    assert await stopping
    assert len(model.replied) == 1


async def test_what_is_not_answered_in_time_is_cancelled(server, client, model):
    model.hold, model.arrived = True, asyncio.Event()
    call = client.call("ModelInfer", image_request(b"a"))
    await model.arrived.wait()
    assert not await server.stop(0)
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    assert len(model.cancelled) == 1


async def test_stopping_twice_is_harmless(server):
    assert await server.stop(1)
    assert await server.stop(1)


@pytest.mark.parametrize("token", [None, "Bearer wrong", "secret", "Basic secret"])
async def test_calls_without_the_token_are_refused(repository, model, token):
    metadata = (("authorization", token),) if token else None
    async with serving(repository, token="secret") as server, connected(server) as client:
        failure = await client.error("ModelInfer", image_request(b"a"), metadata=metadata)
        assert failure.code() is grpc.StatusCode.UNAUTHENTICATED
        assert failure.trailing_metadata()["error-code"] == "unauthorized"
        stream = client.stream(metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.read()
        assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not model.given


async def test_calls_with_the_token_are_served_and_health_needs_none(repository):
    async with serving(repository, token="secret") as server, connected(server) as client:
        await client.call("ModelInfer", image_request(b"a"), metadata=(("authorization", "Bearer secret"),))
        assert (await client.call("ServerReady")).ready
        health = health_pb2_grpc.HealthStub(client.channel)
        await health.Check(health_pb2.HealthCheckRequest())
        assert (await client.error("ServerMetadata")).code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Paths of a self-signed certificate for localhost, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


async def test_tls(repository, certificate):
    cert, key = certificate
    async with serving(repository, tls_cert=str(cert), tls_key=str(key)) as server:
        trusted = grpc.ssl_channel_credentials(cert.read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{server.port}", trusted) as channel:
            answer = await Client(channel).call("ModelInfer", image_request(b"a"))
            assert answer.model_name == "digits"


@pytest.mark.parametrize("damage", ["missing", "garbage"])
async def test_a_certificate_that_cannot_be_used_is_said_so(repository, certificate, tmp_path, damage):
    _cert, key = certificate
    bad = tmp_path / "bad.pem"
    if damage == "garbage":
        bad.write_text("no certificate")
    server = GrpcServer(GrpcOptions(port=0, tls_cert=str(bad), tls_key=str(key)), repository, RegionTable())
    with pytest.raises(ConfigError):
        await server.start()


async def test_one_connection_too_many_is_closed(repository):
    async with serving(repository, max_connections=1) as server, connected(server) as first:
        await first.call("ServerLive")
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            failure = await Client(channel).error("ServerLive")
            assert failure.code() is grpc.StatusCode.UNAVAILABLE
        await first.call("ServerLive")


def test_options_come_from_the_servers_configuration():
    config = build_config(["null:"], {"grpc": "0.0.0.0:9", "token": "t", "max-body-mb": 2.0}, None, {})
    options = GrpcOptions.from_config(config, config.grpc)
    assert (options.address, options.token) == ("0.0.0.0:9", "t")
    assert options.max_message_bytes == 2 * 1024 * 1024
    assert GrpcOptions(host="::1", port=5).address == "[::1]:5"


def test_it_runs_on_uvloop():
    async def main():
        async with serving(FakeRepository(FakeModel())) as server, connected(server) as client:
            return await client.call("ModelInfer", image_request(b"a", id="u"))

    assert uvloop.run(main()).id == "u"
