"""The bearer token."""

from __future__ import annotations

import pytest

from beyond_serve.server.http.auth import BearerGate, check_bearer
from tests.server.http.serving import get, serving


@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer s3cret", "  BEARER   s3cret  "])
def test_right_token_passes(value: str) -> None:
    assert check_bearer("s3cret", value) is None


def test_token_beyond_ascii_passes_as_its_bytes_arrive() -> None:
    assert check_bearer("schlüssel", "Bearer " + "schlüssel".encode().decode("latin-1")) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "missing"),
        ("", "no bearer"),
        ("s3cret", "no bearer"),
        ("Basic s3cret", "no bearer"),
        ("Bearer", "wrong"),
        ("Bearer S3cret", "wrong"),
        ("Bearer s3cret2", "wrong"),
        ("Bearer s3cret, Bearer s3cret", "wrong"),
        ("Bearer \u20ac", "wrong"),
    ],
)
def test_anything_else_does_not(value: str | None, says: str) -> None:
    error = check_bearer("s3cret", value)
    assert error is not None
    assert says in error.message
    assert "s3cret" not in error.message


def test_empty_token_is_no_gate() -> None:
    with pytest.raises(ValueError, match="everyone"):
        BearerGate("", frozenset(), lambda _head: None)


async def test_gate_lets_holders_of_the_token_pass_and_everybody_to_open_paths() -> None:
    gate = BearerGate("s3cret", frozenset({"/healthz"}), lambda _head: None)
    async with serving(gate=gate) as running:
        client = await running.connect()
        refused = await client.ask(get("/predict"))
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert refused.headers["error-code"] == "unauthorized"
        assert refused.json()["error"]["code"] == "unauthorized"
        assert (await client.ask(get("/predict", b"Authorization: Bearer s3cret\r\n"))).status == 200
        assert (await client.ask(get("/healthz"))).status == 200
