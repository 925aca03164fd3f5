"""Files that are either old or new, never half."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` at once: who reads it meanwhile, or after a crash, finds the old file or the
    new one.

    Raises:
        OSError: it cannot be written; nothing is left beside it.
    """
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
