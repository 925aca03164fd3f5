"""The shared memory extension: system shared memory, and the answers for CUDA's, of which there is none.

Source: triton-inference-server/server, docs/protocol/extension_shared_memory.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.server.v2.exchange_io import Answer, json_object
from beyond_serve.wire.parameters import integer_parameter

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange
    from beyond_serve.server.v2.routes import Route

Params = Mapping[str, str]


class SharedMemoryRoutes:
    def __init__(self, regions: RegionTable) -> None:
        self._regions = regions

    def routes(self) -> list[Route]:
        system, cuda = "/v2/systemsharedmemory", "/v2/cudasharedmemory"
        return [
            ("GET", f"{system}/status", Answer(self.status)),
            ("GET", f"{system}/region/{{region}}/status", Answer(self.status)),
            ("POST", f"{system}/region/{{region}}/register", Answer(self.register)),
            ("POST", f"{system}/unregister", Answer(self.unregister)),
            ("POST", f"{system}/region/{{region}}/unregister", Answer(self.unregister)),
            # Clients of Triton's examples clear both kinds before they start.
            ("GET", f"{cuda}/status", Answer(lambda _exchange, _params: [])),
            ("GET", f"{cuda}/region/{{region}}/status", Answer(_no_cuda)),
            ("POST", f"{cuda}/region/{{region}}/register", Answer(_no_cuda)),
            ("POST", f"{cuda}/unregister", Answer(lambda _exchange, _params: {})),
            ("POST", f"{cuda}/region/{{region}}/unregister", Answer(lambda _exchange, _params: {})),
        ]

    def status(self, _exchange: Exchange, params: Params) -> object:
        return [
            {"name": region.name, "key": region.key, "offset": region.offset, "byte_size": region.byte_size}
            for region in self._regions.status(params.get("region", ""))
        ]

    def register(self, exchange: Exchange, params: Params) -> object:
        name = params["region"]
        what = f"region '{name}'"
        body = json_object(exchange.body)
        key = body.get("key")
        byte_size = integer_parameter(body, "byte_size", what)
        if not isinstance(key, str) or byte_size is None:
            raise InvalidRequestError(
                f"{what} needs a 'key' and a 'byte_size'", 'send {"key": …, "byte_size": …}'
            )
        self._regions.register(name, key, integer_parameter(body, "offset", what) or 0, byte_size)
        return {}

    def unregister(self, _exchange: Exchange, params: Params) -> object:
        self._regions.unregister(params.get("region", ""))
        return {}


def _no_cuda(_exchange: Exchange, _params: Params) -> object:
    raise InvalidRequestError(
        "CUDA shared memory is not served", "use system shared memory, or binary tensors"
    )
