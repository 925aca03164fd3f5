"""What the server says of itself: name, version, and the protocol's extensions that it serves."""

from __future__ import annotations

from typing import Any, Final

import beyond_serve

SERVER_NAME: Final = "beyond-serve"

_EXTENSIONS: Final = (
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
    "binary_tensor_data",
)


def server_metadata(*, client_shm: bool) -> dict[str, Any]:
    """The object of `GET /v2`; `client_shm`: clients may register system shared memory."""
    shm = ["system_shared_memory"] if client_shm else []
    return {
        "name": SERVER_NAME,
        "version": beyond_serve.__version__,
        "extensions": [*_EXTENSIONS, *shm],
    }
