"""A server that speaks the wire and does nothing behind it: what it answers follows from what it is sent."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from typing import Any

from beyond_serve.errors import (
    BeyondError,
    ImageDecodeError,
    ModelNotFoundError,
    UnauthorizedError,
    UnsupportedImageError,
)

LABELS = ("zero", "one:uno", None)
"""One label with a colon in it, one class without a label."""

STAGES_US = {"receive": 12.0, "decode": 800.0, "infer": 3000.0}
TOTAL_US = 3820.0

STATISTICS = {
    "name": "demo",
    "version": "1",
    "last_inference": 1_700_000_000_123,
    "inference_count": 7,
    "execution_count": 3,
    "inference_stats": {"success": {"count": 7, "ns": 9_000_000_000_000}},
    "batch_stats": [{"batch_size": 2, "compute_infer": {"count": 3, "ns": 42}}],
}


@dataclass
class FakeModel:
    """What both fakes serve. An image's first byte is its class; `BAD` and `TXT` are no images.

    Attributes:
        refusals: each is the end of one inference call, first come first served.
        seen: what each inference call asked for: model, images, top_k, timeout_ms, priority.
        hold: while set and not done, inference calls wait.
    """

    token: str | None = None
    refusals: list[BeyondError] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    loaded: dict[str, bool] = field(default_factory=lambda: {"demo": True})
    hold: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    def authorize(self, header: str | None) -> None:
        if self.token is not None and header != f"Bearer {self.token}":
            raise UnauthorizedError("the token is missing or wrong", "send Authorization: Bearer TOKEN")

    def named(self, name: str) -> str:
        if not self.loaded.get(name):
            raise ModelNotFoundError(f"there is no model '{name}'", "this server knows: demo")
        return name

    async def enter(self, **asked: Any) -> None:
        self.seen.append(asked)
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.refusals:
            raise self.refusals.pop(0)

    def classify(self, image: bytes, top_k: int) -> list[tuple[float, int, str | None]]:
        if image.startswith(b"BAD"):
            raise ImageDecodeError("the JPEG is truncated: it ends at byte 3", "send the complete file")
        if image.startswith(b"TXT"):
            raise UnsupportedImageError("the body is no image that is known here", "send one of JPEG, PNG")
        first = image[0] % 3
        ranked = [first, *(index for index in range(3) if index != first)]
        return [(0.75 / 2**rank, index, LABELS[index]) for rank, index in enumerate(ranked[:top_k])]


def trace_document() -> dict[str, Any]:
    return {
        "total_us": TOTAL_US,
        "stages_us": STAGES_US,
        "residual_us": TOTAL_US - sum(STAGES_US.values()),
        "batch": {"size": 4, "release": "full"},
        "instance": "demo-0",
        "simulated": False,
    }


def bytes_tensor(elements: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def split_bytes_tensor(raw: bytes) -> list[bytes]:
    elements, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        elements.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return elements
