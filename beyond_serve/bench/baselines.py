"""The bare servers that the front end is measured against; run as a module: NAME PORT."""

from __future__ import annotations

import asyncio
import sys


async def _aiohttp(port: int) -> None:
    """A handler that reads the body and answers two bytes: what any Python web service pays at least."""
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"ok")

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/predict", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


async def _grpc_echo(port: int) -> None:
    """Parses a ModelInfer request and answers a ready response of the same messages."""
    import grpc

    from beyond_serve.wire import messages

    request_class, response_class = messages.ModelInferRequest, messages.ModelInferResponse
    answer = response_class(model_name="null", id="")

    async def echo(_request: object, _context: object) -> object:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        echo,
        request_deserializer=request_class.FromString,
        response_serializer=response_class.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    import uvloop

    name, port = sys.argv[1], int(sys.argv[2])
    uvloop.run({"aiohttp": _aiohttp, "grpc-echo": _grpc_echo}[name](port))


if __name__ == "__main__":
    main()
