"""TLS over both transports, with an authority made for the test."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from beyond_serve.client import AsyncClient, ServerUnreachableError
from tests.client.fake_server import FakeModel
from tests.client.serving import serve


class Certificate(NamedTuple):
    key: bytes
    chain: bytes
    path: Path
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Self-signed, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = signed.public_bytes(pem)
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return Certificate(key_pem, chain, folder / "cert.pem", context)


@pytest.fixture(params=["http", "grpc"])
async def url(request: pytest.FixtureRequest, certificate: Certificate) -> AsyncIterator[str]:
    tls = certificate.context if request.param == "http" else (certificate.key, certificate.chain)
    async with serve(request.param, FakeModel(token="secret"), tls=tls) as url:
        yield url


async def test_an_authority_that_is_trusted(url: str, certificate: Certificate) -> None:
    async with AsyncClient(url, token="secret", verify=certificate.path) as client:
        assert (await client.predict(b"\x01")).top.index == 1


async def test_an_authority_that_is_not(url: str) -> None:
    async with AsyncClient(url, token="secret") as client:
        with pytest.raises(ServerUnreachableError) as caught:
            await client.predict(b"\x01")
    assert url in caught.value.message
    assert "verify=" in (caught.value.hint or "")


async def test_no_verification_over_http(certificate: Certificate) -> None:
    async with (
        serve("http", FakeModel(), tls=certificate.context) as url,
        AsyncClient(url, verify=False) as client,
    ):
        assert await client.live()


async def test_a_server_without_tls() -> None:
    async with serve("http", FakeModel()) as url, AsyncClient(url.replace("http", "https")) as client:
        with pytest.raises(ServerUnreachableError, match="TLS handshake failed"):
            await client.live()
