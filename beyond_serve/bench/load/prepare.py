"""What must be known and made before a server is loaded: its address, the model's inputs, the requests."""

from __future__ import annotations

import socket
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from beyond_serve.bench.load.plan import TlsPlan, WirePlan
from beyond_serve.bench.load.probe import probe
from beyond_serve.bench.load.spec import LoadSpec, Target
from beyond_serve.client import Client, ModelMetadata, RetryPolicy, TensorMetadata, grpc_codec, http_codec
from beyond_serve.client.endpoint import Endpoint
from beyond_serve.client.transport import only_model
from beyond_serve.errors import ConfigError
from beyond_serve.wire.datatypes import BYTES, TensorData, numpy_dtype
from beyond_serve.wire.oip import InferInput, InferRequest


def prepare(spec: LoadSpec) -> WirePlan:
    """Everything that workers need to send, made, and tried once.

    Raises:
        BeyondError: nothing answers there, TLS fails, the model is unknown, the server refuses what would
            be sent. One that is only overloaded passes.
    """
    target, endpoint = spec.target, spec.target.endpoint()
    if target.tls_ca:
        _check_authority(endpoint)
    host, port = _resolve(endpoint)
    metadata = tuple(endpoint.authorization().items()) + ((("x-trace", "1"),) if spec.traces else ())
    plan = WirePlan(
        is_grpc=endpoint.is_grpc,
        host=host,
        port=port,
        server_name=urlsplit(endpoint.url).hostname or host,
        payloads=_payloads(spec, endpoint),
        metadata=metadata if endpoint.is_grpc else (),
        tls=TlsPlan(target.tls_ca, target.tls_insecure) if endpoint.is_secure else None,
        traced=spec.traces,
        timeout_s=spec.timeout_s,
        max_connections=spec.max_connections,
    )
    probe(plan, endpoint)
    return plan


def _check_authority(endpoint: Endpoint) -> None:
    """Raises `ConfigError` for a file that holds none."""
    if endpoint.is_grpc:
        endpoint.root_certificates()
    else:
        endpoint.ssl_context()


def _resolve(endpoint: Endpoint) -> tuple[str, int]:
    """The address, looked up once and not with each connection."""
    parts = urlsplit(f"//{endpoint.authority}")
    host, port = parts.hostname, parts.port
    assert host is not None
    assert port is not None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"cannot find the host {host}: {error.strerror or error}", "check the URL"
        ) from error
    # IPv4 first: many servers listen there only, and each connection would try in vain.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0]), port


def _payloads(spec: LoadSpec, endpoint: Endpoint) -> tuple[bytes, ...]:
    """What is put on the wire, per image."""
    target = spec.target
    if target.protocol == "predict":
        query = {"model": target.model} if target.model else {}
        headers = {"Content-Type": "image/jpeg"}
        return tuple(
            http_request(endpoint, "/predict", query, headers, image.data, traced=spec.traces)
            for image in spec.images
        )
    described = _describe(target, endpoint, spec.timeout_s)
    requests = [InferRequest(described.name, "", "", inputs) for inputs in model_inputs(spec, described)]
    if target.protocol == "v2-grpc":
        return tuple(grpc_codec.infer_message(request).SerializeToString() for request in requests)
    path = f"/v2/models/{quote(described.name, safe='')}/infer"
    bodies = [http_codec.infer_body(request) for request in requests]
    return tuple(
        http_request(endpoint, path, {}, headers, body, traced=spec.traces) for headers, body in bodies
    )


def http_request(
    endpoint: Endpoint,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    *,
    traced: bool,
) -> bytes:
    """A whole HTTP/1.1 request, to be written as it is."""
    if traced:
        query = {**query, "trace": "1"}
    path = urlsplit(endpoint.url).path + path + (f"?{urlencode(query)}" if query else "")
    fields = {
        "Host": endpoint.authority,
        **headers,
        **endpoint.authorization(),
        "Content-Length": str(len(body)),
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _describe(target: Target, endpoint: Endpoint, timeout_s: float) -> ModelMetadata:
    with Client(
        endpoint.url,
        token=endpoint.token,
        timeout_s=timeout_s,
        verify=endpoint.verify,
        retry=RetryPolicy(attempts=1),
    ) as client:
        return client.metadata(target.model or only_model(client.models()))


def model_inputs(spec: LoadSpec, described: ModelMetadata) -> list[tuple[InferInput, ...]]:
    """The inputs of a request, per image."""
    encoded = [tensor for tensor in described.inputs if tensor.datatype == BYTES]
    if spec.target.payload == "image":
        if not encoded:
            raise ConfigError(
                f"model '{described.name}' takes no encoded images", "send its tensor: --payload tensor"
            )
        name, shape = encoded[0].name, _shape(encoded[0])
        return [(InferInput(name, BYTES, shape, [image.data]),) for image in spec.images]
    tensors = [tensor for tensor in described.inputs if tensor.datatype != BYTES]
    if not tensors:
        raise ConfigError(f"model '{described.name}' takes no tensors", "send images: --payload image")
    rng = np.random.default_rng(spec.seed)
    return [tuple(_random_input(tensor, rng) for tensor in tensors)]


def _shape(tensor: TensorMetadata) -> tuple[int, ...]:
    """One item: a free size is 1, but for an image's sides, which are 224."""
    free = 224 if len(tensor.shape) == 4 else 1
    return tuple((free if axis else 1) if size < 0 else size for axis, size in enumerate(tensor.shape))


def _random_input(tensor: TensorMetadata, rng: np.random.Generator) -> InferInput:
    dtype, shape = numpy_dtype(tensor.datatype), _shape(tensor)
    data: TensorData
    if dtype.kind == "f":
        data = rng.standard_normal(shape, np.float32).astype(dtype)
    else:
        data = rng.integers(0, 2 if dtype.kind == "b" else 128, shape).astype(dtype)
    return InferInput(tensor.name, tensor.datatype, shape, data)
