"""Call a server: `Client` and `AsyncClient`, over HTTP and gRPC."""

from beyond_serve.client.async_client import AsyncClient
from beyond_serve.client.errors import ServerUnreachableError, UnexpectedReplyError
from beyond_serve.client.images import Image
from beyond_serve.client.results import (
    ClassScore,
    ModelMetadata,
    ModelStatus,
    Prediction,
    TensorMetadata,
    TraceReport,
)
from beyond_serve.client.retry import RetryPolicy
from beyond_serve.client.sync_client import Client
from beyond_serve.client.tensors import Tensor

__all__ = [
    "AsyncClient",
    "ClassScore",
    "Client",
    "Image",
    "ModelMetadata",
    "ModelStatus",
    "Prediction",
    "RetryPolicy",
    "ServerUnreachableError",
    "Tensor",
    "TensorMetadata",
    "TraceReport",
    "UnexpectedReplyError",
]
