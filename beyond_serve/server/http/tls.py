"""The TLS context of the server."""

from __future__ import annotations

import ssl

from beyond_serve.errors import ConfigError


def server_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    """TLS 1.2 and up with a certificate chain and its key, both PEM.

    Raises:
        ConfigError: a file is missing, unreadable, of another format, encrypted, or they do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    certificate = _read("--tls-cert", cert_file)
    key = _read("--tls-key", key_file)
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        raise ConfigError(
            f"--tls-cert '{cert_file}' holds no PEM certificate", "give the certificate chain as PEM"
        )
    if b"PRIVATE KEY-----" not in key:
        raise ConfigError(f"--tls-key '{key_file}' holds no PEM private key", "give the private key as PEM")
    try:
        context.load_cert_chain(cert_file, key_file, password=_refuse_password)
    except _EncryptedKey as error:
        hint = "decrypt it: openssl pkey -in KEY -out PLAIN"
        raise ConfigError(f"--tls-key '{key_file}' is encrypted", hint) from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"--tls-cert '{cert_file}' and --tls-key '{key_file}' do not belong together"
            raise ConfigError(message, "give the key that the certificate was made for") from error
        message = f"cannot use --tls-cert '{cert_file}' with --tls-key '{key_file}': {error.reason or error}"
        raise ConfigError(message, "check both with openssl x509 and openssl pkey") from error
    return context


class _EncryptedKey(Exception):
    pass


def _refuse_password() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise _EncryptedKey


def _read(option: str, file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise ConfigError(f"cannot read {option} '{file}': {error.strerror}", "check the path") from error
