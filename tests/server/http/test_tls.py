"""TLS: unusable files are one clear error; usable ones serve."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from beyond_serve.errors import ConfigError
from beyond_serve.server.http.exchange import Exchange
from beyond_serve.server.http.tls import server_context
from tests.server.http.serving import get, post, serving

PLAIN = serialization.NoEncryption()


def make_pair(
    folder: Path, name: str = "a", encryption: serialization.KeySerializationEncryption = PLAIN
) -> tuple[str, str]:
    """A self-signed certificate for localhost and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(pem, pkcs8, encryption))
    return str(cert_file), str(key_file)


def trusting(cert_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=cert_file)


async def test_requests_over_tls(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    async with serving(tls=server_context(*pair)) as running:
        client = await running.connect(trusting(pair[0]))
        assert (await client.ask(post(b"x" * 90_000) + post(b"two"))).body == b"x" * 90_000
        assert (await client.read_reply()).body == b"two"
        assert (await client.ask(b"junk\r\n\r\n")).status == 400


async def test_client_that_leaves_over_tls_is_noticed(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    left: list[str] = []

    def handler(exchange: Exchange) -> None:
        exchange.on_disconnect = lambda: left.append(exchange.path)

    async with serving(handler, tls=server_context(*pair)) as running:
        client = await running.connect(trusting(pair[0]))
        await client.send(get("/slow"))
        await running.until(lambda: len(running.seen) == 1)
        client.close()
        await running.until(lambda: left == ["/slow"])


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    context = server_context(*make_pair(tmp_path))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_unusable_files_are_clear_errors(tmp_path: Path) -> None:
    cert, key = make_pair(tmp_path)
    _, other_key = make_pair(tmp_path, "b")
    _, locked_key = make_pair(tmp_path, "c", serialization.BestAvailableEncryption(b"password"))
    text = tmp_path / "text"
    text.write_text("hello")
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    missing = str(tmp_path / "missing")
    for files, says in [
        ((missing, key), "cannot read --tls-cert '.*missing': No such file"),
        ((cert, missing), "cannot read --tls-key '.*missing': No such file"),
        ((str(text), key), "--tls-cert '.*text' holds no PEM certificate"),
        ((cert, str(text)), "--tls-key '.*text' holds no PEM private key"),
        ((key, cert), "--tls-cert '.*' holds no PEM certificate"),
        ((str(broken), key), "cannot use --tls-cert '.*broken'"),
        ((cert, other_key), "do not belong together"),
        ((cert, locked_key), "is encrypted"),
    ]:
        with pytest.raises(ConfigError, match=says) as caught:
            server_context(*files)
        assert caught.value.hint
