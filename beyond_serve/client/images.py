"""From what a caller has at hand to the encoded bytes of an image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

Image = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
"""An encoded image (JPEG, PNG …): its path, its bytes, or a binary file object to read it from."""


def read_image(image: Image) -> bytes:
    """The image's encoded bytes; blocks while reading a file.

    Raises:
        OSError: the path cannot be read.
        TypeError: `image` is none of the kinds above.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    read = getattr(image, "read", None)
    if read is None:
        raise TypeError(
            f"an image is a path, bytes or a binary file object, not {type(image).__name__};"
            " arrays go through infer()"
        )
    data = read()
    if not isinstance(data, bytes):
        raise TypeError(f"{image!r} reads {type(data).__name__}, not bytes: open it in binary mode")
    return data
