"""Where a server is: a checked URL, and whom to trust there."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from beyond_serve.errors import ConfigError

Verify = bool | str | os.PathLike[str]
"""True: the system's authorities; a path: the authorities in this PEM file; False: none (HTTP only)."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "grpc": 8001, "grpcs": 8001}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server and how to call it.

    Attributes:
        url: normalised, without a trailing slash.
        authority: "host:port", IPv6 addresses in brackets.
    """

    url: str
    scheme: str
    authority: str
    token: str | None = field(default=None, repr=False)
    verify: Verify = True

    @property
    def is_grpc(self) -> bool:
        return self.scheme.startswith("grpc")

    @property
    def is_secure(self) -> bool:
        return self.scheme.endswith("s")

    def authorization(self) -> dict[str, str]:
        """The header or metadata entry that carries the token, if there is one."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def ssl_context(self) -> ssl.SSLContext | bool:
        """What aiohttp takes as `ssl`. Raises `ConfigError` if the PEM file cannot be read."""
        if isinstance(self.verify, bool):
            return self.verify
        try:
            return ssl.create_default_context(cafile=os.fspath(self.verify))
        except OSError as error:
            raise _unreadable(self.verify, error) from error

    def root_certificates(self) -> bytes | None:
        """What gRPC takes as roots: None for its own. Raises `ConfigError` if the PEM file cannot be read."""
        if isinstance(self.verify, bool):
            return None
        try:
            return Path(self.verify).read_bytes()
        except OSError as error:
            raise _unreadable(self.verify, error) from error


def parse_endpoint(url: str, token: str | None = None, verify: Verify = True) -> Endpoint:
    """Check `url`: http, https, grpc or grpcs, a host, and for HTTP perhaps a path in front of the routes.

    Raises:
        ConfigError: the URL, the token or `verify` cannot be used.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"cannot use the URL {url!r}: {error}", _URL_HINT) from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigError(f"cannot use the URL {url!r}", _URL_HINT)
    if parts.username is not None:
        raise ConfigError(f"the URL for {parts.hostname} holds a user name", "pass token=… instead")
    path = parts.path.rstrip("/")
    is_grpc = parts.scheme.startswith("grpc")
    if parts.query or parts.fragment or (path and is_grpc):
        raise ConfigError(f"the URL {url!r} has more than scheme, host and port", _URL_HINT)
    if is_grpc and verify is False:
        raise ConfigError(
            "gRPC cannot skip the check of the server's certificate",
            "pass verify='path/to/ca.pem' with the certificate to trust",
        )
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token):
        raise ConfigError("the token holds characters that a header cannot carry")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = f"{host}:{_DEFAULT_PORTS[parts.scheme] if port is None else port}"
    return Endpoint(f"{parts.scheme}://{authority}{path}", parts.scheme, authority, token, verify)


_URL_HINT = "write it as http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT or grpcs://HOST:PORT"


def _unreadable(path: object, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot read the certificates in {path}: {error.strerror or error}", "give a PEM file"
    )
