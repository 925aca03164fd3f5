"""The standard reflection service, with which grpcurl and its like learn what is served."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc.aio import EOF
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import ReflectionServicer

from beyond_serve.errors import BeyondError
from beyond_serve.server.grpc.codec import decode_message
from beyond_serve.server.grpc.health import HEALTH_SERVICE
from beyond_serve.server.grpc.router import Route, Rpc, always
from beyond_serve.server.grpc.status import set_error
from beyond_serve.wire.descriptors import FILE_DESCRIPTOR_SET
from beyond_serve.wire.messages import SERVICE

REFLECTION_SERVICE: Final = "grpc.reflection.v1alpha.ServerReflection"


def reflection_routes(closing: asyncio.Event) -> dict[str, Route]:
    """`closing` ends open streams, which would hold up the server's shutdown."""
    return {f"/{REFLECTION_SERVICE}/ServerReflectionInfo": always(_Reflection(closing))}


class _Reflection(Rpc):
    request_streaming = True
    response_streaming = True

    def __init__(self, closing: asyncio.Event) -> None:
        services = (SERVICE, HEALTH_SERVICE, REFLECTION_SERVICE)
        self._servicer = ReflectionServicer(services, pool=_reflected_pool())
        self._closing = closing

    async def stream_stream(self, _requests: Any, context: Any) -> None:
        """Answer until the client or the server ends."""
        closed = asyncio.ensure_future(self._closing.wait())
        reading = asyncio.ensure_future(context.read())
        try:
            while True:
                await asyncio.wait((reading, closed), return_when=asyncio.FIRST_COMPLETED)
                if not reading.done() or reading.result() is EOF:
                    return
                request = decode_message(reflection_pb2.ServerReflectionRequest, reading.result())
                for answer in self._servicer.ServerReflectionInfo(iter((request,)), context):
                    await context.write(answer.SerializeToString())
                reading = asyncio.ensure_future(context.read())
        except BeyondError as error:
            set_error(context, error)
        finally:
            closed.cancel()
            reading.cancel()


def _reflected_pool() -> Any:
    """Everything served and nothing else: the default pool may hold a client's own `inference`."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(FILE_DESCRIPTOR_SET).file:
        pool.AddSerializedFile(file.SerializeToString())
    for module in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return pool
