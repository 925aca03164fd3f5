"""The routes of /v2 over fake models, asked through the real router, without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beyond_serve.server.config import Address, ServerConfig
from beyond_serve.server.http.exchange import Exchange
from beyond_serve.server.http.router import Router
from beyond_serve.server.oip.shared_memory import SHM_DIRECTORY, RegionTable
from beyond_serve.server.v2.routes import v2_routes
from tests.server.oip.fakes import FakeModel, FakeRepository

MAX_BODY = 1024 * 1024


@dataclass
class Reply:
    status: int
    body: bytes
    content_type: str
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        document = self.json()
        assert list(document) == ["error"]
        assert self.content_type == "application/json"
        text = document["error"]
        assert isinstance(text, str)
        return text


@dataclass
class Port:
    """What a connection would send."""

    replies: list[Reply] = field(default_factory=list)

    def reply(
        self,
        exchange: Exchange,
        status: int,
        body: bytes,
        content_type: str,
        headers: Sequence[tuple[str, str]],
    ) -> int:
        assert len(headers) == len(dict(headers))
        self.replies.append(Reply(status, body, content_type, dict(headers)))
        return exchange.received_ns + 1000


class Asked:
    """An exchange that was handed to its handler."""

    def __init__(self, exchange: Exchange, port: Port) -> None:
        self.exchange = exchange
        self._port = port

    @property
    def answered(self) -> bool:
        return bool(self._port.replies)

    @property
    def reply(self) -> Reply:
        (reply,) = self._port.replies
        return reply

    async def ended(self) -> Asked:
        """Let the loop run until it is answered."""
        async with asyncio.timeout(5):
            while not self.answered:  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0)
        return self

    def leave(self) -> None:
        """The client goes, as a connection reports it."""
        self.exchange._port = Port()
        if self.exchange.on_disconnect is not None:
            self.exchange.on_disconnect()


class Server:
    def __init__(
        self, *models: FakeModel, shm: bool = False, directory: Path = SHM_DIRECTORY, **config: Any
    ) -> None:
        self.models = models or (FakeModel(answers_at_once=True),)
        self.repository = FakeRepository(*self.models)
        self.regions = RegionTable(allowed=shm, directory=directory)
        self.stopping = False
        base: dict[str, Any] = {
            "http": Address("127.0.0.1", 0),
            "grpc": None,
            "max_body_mb": MAX_BODY / 2**20,
        }
        settings = ServerConfig(models=(), **(base | config))
        self.router = Router(v2_routes(settings, self.repository, self.regions, lambda: self.stopping))

    @property
    def model(self) -> FakeModel:
        return self.models[0]

    def start(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, object] | None = None
    ) -> Asked:
        raw = {name.lower().encode(): str(value).encode() for name, value in (headers or {}).items()}
        port = Port()
        exchange = Exchange(port, method, target, raw)
        exchange.body, exchange.started_ns, exchange.received_ns = body, 1000, 3000
        refusal = self.router.gate(exchange)
        assert refusal is None, refusal
        self.router(exchange)
        return Asked(exchange, port)

    def get(self, target: str) -> Reply:
        return self.start("GET", target).reply

    def post(self, target: str, document: object = None) -> Reply:
        body = b"" if document is None else json.dumps(document).encode()
        return self.start("POST", target, body).reply

    def infer(
        self,
        document: object,
        *blobs: bytes,
        target: str = "/v2/models/m/infer",
        headers: Mapping[str, object] | None = None,
    ) -> Reply:
        """JSON alone, or with blobs behind it and the header that says so."""
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        sized: dict[str, object] = {"Inference-Header-Content-Length": len(text)} if blobs else {}
        return self.start("POST", target, text + b"".join(blobs), sized | dict(headers or {})).reply
