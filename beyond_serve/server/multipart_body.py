"""Images out of a multipart body (RFC 7578), by the `multipart` library."""

from __future__ import annotations

import multipart

from beyond_serve.errors import InvalidRequestError

MAX_PARTS = 4096


def split_multipart(body: bytes, content_type: str) -> list[bytes]:
    """The bytes of every part, in order.

    Raises:
        InvalidRequestError: no boundary, malformed, truncated, empty, or more than 4096 parts.
    """
    _, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if not boundary:
        raise InvalidRequestError(
            "the multipart body's Content-Type names no boundary", "let your client set it"
        )
    parts: list[bytes] = []
    collected: list[bytes] | None = None
    try:
        with multipart.PushMultipartParser(
            boundary, max_segment_count=MAX_PARTS, max_segment_size=len(body) + 1
        ) as parser:
            for event in parser.parse(body):
                if isinstance(event, multipart.MultipartSegment):
                    collected = []
                elif event:
                    assert collected is not None
                    collected.append(bytes(event))
                elif collected is not None:
                    parts.append(b"".join(collected))
    except multipart.MultipartError as error:
        raise InvalidRequestError(
            f"the multipart body is malformed: {error}", "let your client build it"
        ) from error
    if not parts:
        raise InvalidRequestError("the multipart body holds no image", "add a part for each image")
    return parts
