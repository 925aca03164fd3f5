"""A client of each transport, and the fake that it calls."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from beyond_serve.client import AsyncClient
from tests.client.fake_server import FakeModel
from tests.client.serving import serve


@pytest.fixture(params=["http", "grpc"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
async def url(kind: str, model: FakeModel) -> AsyncIterator[str]:
    async with serve(kind, model) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as client:
        yield client
