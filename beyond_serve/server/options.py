"""Every option once: its flag, its key in the TOML file, its type, default and help.

Names are the same in both (design.md: "same names in the TOML file").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scope = Literal["model", "server"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    kind: type of the value; bool options are flags without a value.
    choices, minimum: what is accepted.
    refused: choices that are known and yet cannot be had, with the reason.
    scope: "model" options may also stand in a `[models.NAME]` table; as flags they hold for all models.
    """

    name: str
    kind: type
    default: Any
    help: str
    scope: Scope = "server"
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    metavar: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")


OPTIONS: tuple[Option, ...] = (
    Option(
        "device",
        str,
        "auto",
        "where the model runs: auto (a GPU where there is one that the engine can use), cpu, cuda:N, several "
        "as cuda:0,cuda:1, or cuda:all; sim:0,sim:1 for emulated ones",
        "model",
    ),
    Option(
        "engine",
        str,
        "auto",
        "what runs it: openvino (.onnx and .xml, CPU), onnxruntime (.onnx, CPU or GPU), tensorrt (.plan and "
        ".engine, GPU), torch (.pt2, CPU or GPU); auto takes the first of them that can",
        "model",
        choices=("auto", "openvino", "onnxruntime", "tensorrt", "torch"),
    ),
    Option(
        "precision",
        str,
        "auto",
        "what .onnx and .xml compute in; auto is bf16 where the CPU has it and the model stays right, else "
        "the file's own. A .plan or .pt2 was built for one, and another is refused",
        "model",
        choices=("auto", "fp32", "bf16", "fp16", "int8"),
    ),
    Option(
        "trust-plan",
        bool,
        False,
        "run host code that a TensorRT plan brings with it; only for plans of your own",
        "model",
    ),
    Option(
        "instances",
        int,
        1,
        "how many instances run batches at the same time, on each device",
        "model",
        minimum=1,
    ),
    Option(
        "instance-kind",
        str,
        "thread",
        "thread, or process: a crash of the engine then takes no more than its batch",
        "model",
        choices=("thread", "process"),
    ),
    Option(
        "policy",
        str,
        "fixed",
        "when images become a batch; fixed: full, or the oldest has waited max-delay-us; adaptive: when the "
        "batch keeps up with the arrivals; deadline: earliest deadline first, late ones dropped; "
        "deferred: as late as deadlines allow",
        "model",
        choices=("fixed", "adaptive", "deadline", "deferred"),
    ),
    Option(
        "max-batch",
        int,
        0,
        "largest batch, in images; 0: 32 with the policy fixed, else the smallest within 5 % of the best "
        "rate",
        "model",
        minimum=0,
    ),
    Option(
        "max-delay-us",
        int,
        0,
        "how long the oldest image may wait for others; 0 takes what waits as soon as an instance is free",
        "model",
        minimum=0,
    ),
    Option("max-queue", int, 1024, "how many images may wait before new ones get 429", "model", minimum=1),
    Option(
        "max-queue-mb",
        float,
        512.0,
        "how many MiB of encoded images and tensors may wait before new ones get 429",
        "model",
        minimum=0.001,
    ),
    Option("priority-levels", int, 3, "levels of priority; 1 goes first", "model", minimum=1),
    Option(
        "priority-ageing-ms",
        float,
        1000.0,
        "how much earlier a request counts for each level that it stands above another",
        "model",
        minimum=0,
    ),
    Option(
        "priority-queues",
        str,
        "",
        "most images that may wait at each level and below it, as in 1000,800,500; "
        "empty: max-queue for the middle level, a tenth more or less for each above or below",
        "model",
    ),
    Option(
        "weight",
        float,
        1.0,
        "share of the device and the decoders beside other models",
        "model",
        minimum=0.001,
    ),
    Option(
        "timeout-ms",
        float,
        0.0,
        "deadline of requests that bring none; 0 for none",
        "model",
        minimum=0,
    ),
    Option(
        "fidelity",
        str,
        "exact",
        "exact: the reference's pixels; fast: decode only what is needed",
        "model",
        choices=("exact", "fast"),
    ),
    Option(
        "ladder",
        str,
        "",
        "plans for times of overload, best first: exact,fast or exact,fast,model=NAME; empty: none",
        "model",
    ),
    Option(
        "ladder-wait-ms",
        float,
        50.0,
        "predicted wait beyond which the ladder steps down; it steps up again well below",
        "model",
        minimum=0.001,
    ),
    Option(
        "decode",
        str,
        "auto",
        "where images are decoded; auto is cpu: gpu is not built in this version, and refused",
        "model",
        choices=("auto", "cpu", "gpu"),
        refused={"gpu": "GPU decoding is not built in this version"},
    ),
    Option(
        "decode-threads", int, 0, "threads that decode and resize, for all models; 0: one per core", minimum=0
    ),
    Option(
        "decode-memory-mb",
        float,
        1024.0,
        "MiB that images being decoded may take, for all models",
        minimum=1,
    ),
    Option(
        "device-batches",
        int,
        0,
        "batches that several models may run on one device at the same time; 0: as many as the one of them "
        "with most instances",
        minimum=0,
    ),
    Option("tolerate-corrupt", bool, False, "serve images whose data is damaged but decodable", "model"),
    Option("max-pixels", int, 50_000_000, "largest image, by its header", "model", minimum=1),
    Option(
        "http",
        str,
        "127.0.0.1:8000",
        "address of HTTP; port 0 takes a free one; 'off' for none",
        metavar="HOST:PORT",
    ),
    Option(
        "grpc",
        str,
        "127.0.0.1:8001",
        "address of gRPC; port 0 takes a free one; 'off' for none",
        metavar="HOST:PORT",
    ),
    Option("token", str, "", "bearer token that clients must send; better in BEYOND_SERVE_TOKEN, out of ps"),
    Option(
        "tls-cert",
        str,
        "",
        "certificate chain (PEM); with --tls-key both transports speak TLS",
        metavar="FILE",
    ),
    Option("tls-key", str, "", "private key (PEM)", metavar="FILE"),
    Option("max-body-mb", float, 64.0, "largest request body and gRPC message, in MiB", minimum=0.001),
    Option("max-connections", int, 4096, "open HTTP connections; further ones get 503", minimum=1),
    Option("header-timeout-s", float, 10.0, "for a request's head to arrive", minimum=0.01),
    Option("body-timeout-s", float, 60.0, "for a request's body to arrive", minimum=0.01),
    Option("idle-timeout-s", float, 120.0, "for an idle connection to stay open", minimum=0.01),
    Option("drain-seconds", float, 30.0, "after SIGTERM, for accepted requests to be answered", minimum=0),
    Option("allow-client-shm", bool, False, "let clients register system shared memory"),
    Option("trace-file", str, "", "write every request's trace here", metavar="FILE"),
    Option(
        "trace-format",
        str,
        "chrome",
        "chrome opens in Perfetto; triton in Triton's trace reader",
        choices=("chrome", "triton"),
    ),
    Option("log-level", str, "info", "how much to say", choices=("debug", "info", "warning", "error")),
)
