"""What a handler sees of a request."""

from __future__ import annotations

import pytest

from beyond_serve.server.http.exchange import Headers, RequestHead


def head(target: str) -> RequestHead:
    return RequestHead("GET", target, {})


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", {}),
        ("/a?", "/a", {}),
        ("/a%20b%2Fc?x=%26&y", "/a b/c", {"x": "&", "y": ""}),
        ("/%C3%A9?q=%C3%A9+e", "/é", {"q": "é e"}),
        ("/%FF", "/\ufffd", {}),
        ("/a?x=1&x=2", "/a", {"x": "2"}),
        ("/a?b?c=d", "/a", {"b?c": "d"}),
    ],
)
def test_target_is_taken_apart(target: str, path: str, query: dict[str, str]) -> None:
    assert (head(target).path, head(target).query) == (path, query)


def test_headers_are_a_mapping_of_text() -> None:
    headers = Headers({b"a": b"1 \t", b"b": b"\xe9", b"c": b""})
    assert dict(headers) == {"a": "1", "b": "é", "c": ""}
    assert (headers.get("a"), headers.get("b", "x"), headers.get("c", "x")) == ("1", "é", "")
    assert (headers.get("d"), headers.get("d", "x"), headers.get("\u20ac")) == (None, "x", None)
    assert "a" in headers
    assert "d" not in headers
    assert len(headers) == 3
    with pytest.raises(KeyError):
        headers["d"]
