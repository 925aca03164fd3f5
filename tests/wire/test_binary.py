from __future__ import annotations

import pytest

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.binary import join_body, parse_header_length, split_blobs


def test_a_joined_body_splits_again() -> None:
    body = join_body(b"{}", [b"abc", memoryview(b"de")])
    length = parse_header_length("2", len(body))
    assert length == 2
    parts = split_blobs(memoryview(body)[length:], [("a", 3), ("b", 2)])
    assert [bytes(part) for part in parts] == [b"abc", b"de"]


def test_no_header_means_json_only() -> None:
    assert parse_header_length(None, 10) is None


@pytest.mark.parametrize("text", ["", "-1", "1.0", " 1", "0x10", "\u0661", "1" * 19, "abc"])
def test_a_length_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="Inference-Header-Content-Length"):
        parse_header_length(text, 10**18)


def test_a_length_beyond_the_body_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="is 11, the body has only 10 bytes"):
        parse_header_length("11", 10)
    assert parse_header_length("10", 10) == 10


def test_sizes_must_add_up() -> None:
    with pytest.raises(InvalidRequestError, match="'b' has a binary_data_size of 3"):
        split_blobs(memoryview(b"abcd"), [("a", 2), ("b", 3)])
    with pytest.raises(InvalidRequestError, match="1 bytes follow"):
        split_blobs(memoryview(b"abcd"), [("a", 3)])
