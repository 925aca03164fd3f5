"""A closed loop over gRPC, in a process of its own so that it can be pinned. Run as a module."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time


def run_grpc_load(
    target: str, image: bytes, concurrency: int, seconds: float, core: int | None = None
) -> tuple[float, int, int]:
    """Requests/s, p50 and p99 in microseconds of ModelInfer calls with one `image`."""
    arguments = [target, str(len(image)), str(concurrency), str(seconds)]
    command = [sys.executable, "-m", "beyond_serve.bench.grpc_load", *arguments]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate, p50, p99 = json.loads(done.stdout)
    return rate, p50, p99


async def _load(target: str, length: int, concurrency: int, seconds: float) -> tuple[float, int, int]:
    import grpc

    from beyond_serve.wire import messages

    request = messages.ModelInferRequest(model_name="null")
    tensor = request.inputs.add(name="image", datatype="BYTES")
    tensor.shape.append(1)
    request.raw_input_contents.append(length.to_bytes(4, "little") + b"\xff\xd8" + bytes(length - 2))
    latencies: list[int] = []
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        await call(request, wait_for_ready=True)
        end = time.monotonic() + seconds

        async def worker() -> None:
            while time.monotonic() < end:
                began = time.monotonic_ns()
                await call(request)
                latencies.append(time.monotonic_ns() - began)

        began = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        took = time.monotonic() - began
    latencies.sort()
    count = len(latencies)
    return count / took, latencies[count // 2] // 1000, latencies[count * 99 // 100] // 1000


def main() -> None:
    import uvloop

    target, length, concurrency, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(_load(target, int(length), int(concurrency), float(seconds)))))


if __name__ == "__main__":
    main()
