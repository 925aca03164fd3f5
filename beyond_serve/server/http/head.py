"""What RFC 9112 forbids in a request's head and llhttp lets pass.

llhttp refuses by itself: bare LF and bare CR, folded lines, space before the colon, control characters,
two lengths, length beside chunked, signed or listed lengths, an unfinished transfer coding, unknown
methods. tests/server/http/test_smuggling.py pins both lists with raw bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache

from beyond_serve.server.http.refusal import Refusal

# No space, and so no joined values of several Host lines.
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_CODE = "invalid_request"


def check_head(method: str, target: str, headers: dict[bytes, bytes], version: str) -> Refusal | None:
    """Refuse a head that must not be acted on; the connection's framing cannot be trusted after it.

    Args:
        headers: by lower-case name; values may have white space around them, repeated
            ones are joined by ", ".
        version: "1.1", as llhttp read it; "0.9" for a request line without one.
    """
    # One function without further calls for a request that is in order: it runs for every one.
    if target[:1] != "/" or "#" in target or method == "CONNECT":
        refusal = _check_target(method, target)
        if refusal is not None:
            return refusal
    host = headers.get(b"host")
    if version != "1.1":
        if version != "1.0":
            return Refusal(505, _CODE, f"HTTP/{version} is not spoken here", "use HTTP/1.1")
    elif host is None:
        return bad_request("the Host header is missing", "HTTP/1.1 requires it")
    if host is not None and not _is_host(host):
        return bad_request("the Host header is not one host", "send exactly one, as host:port")
    if b"transfer-encoding" in headers or b"expect" in headers:
        return _check_body_headers(headers, version)
    return None


def origin_form(target: str) -> str:
    """Path and query of a target that may name scheme and host too, which RFC 9112 wants understood."""
    if target[:1] == "/":
        return target
    scheme, mark, rest = target.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        return target
    end = min((at for at in (rest.find("/"), rest.find("?"), rest.find("#")) if at >= 0), default=len(rest))
    path = rest[end:]
    return path if path[:1] == "/" else "/" + path


def _check_target(method: str, target: str) -> Refusal | None:
    if method == "CONNECT":
        return Refusal(501, _CODE, "this server is no proxy", "send the request to the model's server itself")
    if "#" in target:
        return bad_request("the request's target holds a fragment", "encode '#' as %23")
    if target == "*" and method == "OPTIONS":
        return None
    return bad_request("the request's target is no path", "it must begin with '/'")


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value.strip(b" \t")) is not None


def _check_body_headers(headers: dict[bytes, bytes], version: str) -> Refusal | None:
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if version == "1.0":
            return bad_request("Transfer-Encoding in an HTTP/1.0 request", "use HTTP/1.1 or Content-Length")
        if coding.strip(b" \t").lower() != b"chunked":
            return Refusal(501, _CODE, "unknown transfer coding", "the only one understood is 'chunked'")
    expected = headers.get(b"expect")
    if expected is not None and expected.strip(b" \t").lower() != b"100-continue":
        return Refusal(417, _CODE, "unknown expectation", "the only one understood is '100-continue'")
    return None


def bad_request(message: str, hint: str | None) -> Refusal:
    return Refusal(400, _CODE, message, hint)


def head_size(target: bytes, headers: dict[bytes, bytes]) -> int:
    """Bytes of a head, without its line breaks."""
    return len(target) + sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)
