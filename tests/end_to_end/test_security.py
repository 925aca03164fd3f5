"""TLS and the token, for both transports, with real clients."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from beyond_serve.client import Client
from beyond_serve.errors import UnauthorizedError
from tests.end_to_end.serving import EXAMPLES, Server, curl, serving

SEVEN = EXAMPLES / "seven.jpg"
TOKEN = "correct horse"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    import ipaddress

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert_file, key_file


@pytest.fixture(scope="module")
def guarded(certificate: tuple[Path, Path]) -> Iterator[Server]:
    cert, key = certificate
    environ = {**os.environ, "BEYOND_SERVE_TOKEN": TOKEN}
    with serving(
        "--model", "demo", "--tls-cert", str(cert), "--tls-key", str(key), environ=environ
    ) as running:
        yield running


def test_curl_needs_the_certificate_and_the_token(guarded: Server, certificate: tuple[Path, Path]) -> None:
    trust = ("--cacert", str(certificate[0]))
    url = f"{guarded.http}/predict"
    assert curl(*trust, "-T", str(SEVEN), url)[0] == 401
    assert curl(*trust, "-H", "Authorization: Bearer wrong", "-T", str(SEVEN), url)[0] == 401
    assert curl(*trust, "-H", f"Authorization: Bearer {TOKEN}", "-T", str(SEVEN), url)[0] == 200
    assert curl(*trust, f"{guarded.http}/v2/models/demo")[0] == 401
    assert curl(*trust, f"{guarded.http}/metrics")[0] == 401


def test_probes_need_no_token(guarded: Server, certificate: tuple[Path, Path]) -> None:
    for path in ("/healthz", "/v2/health/live", "/v2/health/ready"):
        assert curl("--cacert", str(certificate[0]), f"{guarded.http}{path}")[0] == 200


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_the_client_over_tls_with_the_token(
    guarded: Server, certificate: tuple[Path, Path], transport: str
) -> None:
    url = guarded.http if transport == "http" else f"grpcs://{guarded.grpc}"
    with Client(url, token=TOKEN, verify=str(certificate[0])) as client:
        assert client.predict(SEVEN).top.label == "seven"
    with Client(url, token="wrong", verify=str(certificate[0])) as client, pytest.raises(UnauthorizedError):
        client.predict(SEVEN)


def test_the_token_is_not_shown(guarded: Server) -> None:
    assert TOKEN not in "\n".join(guarded.said)
