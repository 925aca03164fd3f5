from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.client.endpoint import parse_endpoint
from beyond_serve.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "normal", "authority"),
    [
        ("http://localhost", "http://localhost:80", "localhost:80"),
        ("https://Host.example/", "https://host.example:443", "host.example:443"),
        ("http://h:8000/behind/proxy/", "http://h:8000/behind/proxy", "h:8000"),
        ("grpc://h", "grpc://h:8001", "h:8001"),
        ("grpcs://[::1]:9", "grpcs://[::1]:9", "[::1]:9"),
    ],
)
def test_urls(url: str, normal: str, authority: str) -> None:
    endpoint = parse_endpoint(url)

    assert (endpoint.url, endpoint.authority) == (normal, authority)
    assert endpoint.is_grpc == url.startswith("grpc")
    assert endpoint.is_secure == url.partition(":")[0].endswith("s")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://h",
        "http://",
        "http://h:port",
        "http://h:99999",
        "http://h?x=1",
        "grpc://h/path",
        "http://user:word@h",
        "http://[::1",
    ],
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(url)
    assert caught.value.hint
    assert "word" not in str(caught.value)


def test_the_token_is_never_shown() -> None:
    endpoint = parse_endpoint("http://h", token="secret")

    assert endpoint.authorization() == {"authorization": "Bearer secret"}
    assert "secret" not in repr(endpoint)


@pytest.mark.parametrize("token", ["a\r\nX: y", "naïve", " padded"])
def test_tokens_that_no_header_carries(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint("http://h", token=token)
    assert token not in str(caught.value)


def test_grpc_cannot_skip_verification() -> None:
    with pytest.raises(ConfigError, match="certificate"):
        parse_endpoint("grpcs://h", verify=False)


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    for url in ("https://h", "grpcs://h"):
        endpoint = parse_endpoint(url, verify=tmp_path / "absent.pem")
        with pytest.raises(ConfigError, match=r"absent\.pem: No such file"):
            endpoint.root_certificates() if endpoint.is_grpc else endpoint.ssl_context()
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"no\.pem"):
        parse_endpoint("https://h", verify=tmp_path / "no.pem").ssl_context()
