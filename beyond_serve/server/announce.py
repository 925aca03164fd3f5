"""What the server says of itself when it is up: enough to know what runs, and one line to try it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from beyond_serve.preprocess.native import available, simd
from beyond_serve.server.config import Address
from beyond_serve.server.device_list import with_card
from beyond_serve.server.model import Model


def announce_models(models: Sequence[Model], plans: Mapping[str, str]) -> Iterator[str]:
    """A paragraph per model: engine, precision, device, instances, batching, preprocessing, labels."""
    for model in models:
        config, info = model.config, model.info
        simulated = "  (simulated: its answers and its speed are made up)" if info.simulated else ""
        devices = info.device.split(",")
        plural = "s" if config.instances != 1 else ""
        each = " on each" if len(devices) > 1 else ""
        where = ", ".join(with_card(device) for device in devices)
        yield f"{model.name}: {info.engine} {info.precision} on {where}{simulated}"
        yield (
            f"  {config.instances} {config.instance_kind} instance{plural}{each}"
            f", policy {config.policy}, batches of up to {model.max_batch}"
            f", delay at most {config.max_delay_us} us"
            f", queue of {config.max_queue}"
        )
        yield f"  preprocessing: {plans.get(model.name, '?')}, fidelity {config.fidelity}"
        if model.line is not None:
            core = (
                f"the native core ({simd()})" if available() else "libraries (the native core is not built)"
            )
            yield f"  JPEG decoding: {core}"
        if info.scores is not None:
            named = f"{len(model.labels)} labels" if model.labels else "no labels (classes are numbered)"
            yield f"  classifier: {named}"


def announce_http(address: Address, models: Sequence[Model], *, tls: bool, token: bool) -> Iterator[str]:
    """Where HTTP is, and one `curl` line that works."""
    base = f"{'https' if tls else 'http'}://{address}"
    yield f"HTTP  {base}  (/predict, /v2, /metrics, /healthz, /openapi.json)"
    classifiers = [model for model in models if model.info.scores is not None]
    if classifiers:
        query = f"&model={classifiers[0].name}" if len(models) > 1 else ""
        options = ("-k " if tls else "") + (
            '-H "Authorization: Bearer $BEYOND_SERVE_TOKEN" ' if token else ""
        )
        yield f"try:  curl {options}-T examples/seven.jpg '{base}/predict?trace=1{query}'"


def announce_grpc(address: Address, *, tls: bool) -> str:
    """Where gRPC is."""
    return (
        f"gRPC  {address}{' with TLS' if tls else ''}  (inference.GRPCInferenceService, health, reflection)"
    )
