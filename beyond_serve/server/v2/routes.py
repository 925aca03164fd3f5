"""Every route under `/v2`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from beyond_serve.server.config import ServerConfig
from beyond_serve.server.oip.served_model import Repository
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.server.v2.infer_route import ROUTE, InferRoute
from beyond_serve.server.v2.model_routes import ModelRoutes
from beyond_serve.server.v2.repository_routes import RepositoryRoutes
from beyond_serve.server.v2.setting_routes import SettingRoutes
from beyond_serve.server.v2.shared_memory_routes import SharedMemoryRoutes

if TYPE_CHECKING:
    from beyond_serve.server.http.exchange import Exchange

Handler = Callable[["Exchange", Mapping[str, str]], None]
Route = tuple[str, str, Handler]


def v2_routes(
    config: ServerConfig, repository: Repository, regions: RegionTable, stopping: Callable[[], bool]
) -> list[Route]:
    """(method, pattern, handler) of the Open Inference Protocol with Triton's extensions.

    In a pattern `{name}` stands for one segment of the path; where a pattern without placeholders fits
    as well (`/v2/models/stats`), it is the one that is meant.
    """
    infer = InferRoute(repository, regions, config.max_body_bytes)
    return [
        ("POST", ROUTE, infer),
        ("POST", "/v2/models/{name}/versions/{version}/infer", infer),
        *ModelRoutes(repository, stopping, client_shm=regions.allowed).routes(),
        *RepositoryRoutes(repository).routes(),
        *SharedMemoryRoutes(regions).routes(),
        *SettingRoutes(repository, config.trace_file, config.log_level).routes(),
    ]
