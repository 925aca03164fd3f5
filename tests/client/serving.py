"""The fakes by the name of their transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.client.fake_grpc import serve_grpc
from tests.client.fake_http import serve_http
from tests.client.fake_server import FakeModel


@asynccontextmanager
async def serve(kind: str, model: FakeModel, **options: Any) -> AsyncIterator[str]:
    """The URL of a fake of that kind, which ends with the block."""
    async with (serve_http if kind == "http" else serve_grpc)(model, **options) as url:
        yield url
