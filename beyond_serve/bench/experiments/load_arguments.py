"""The flags of `beyond-bench load`, and the specification they make."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from beyond_serve.bench.load.arrivals import (
    Arrivals,
    Bursts,
    ClosedLoop,
    ConstantRate,
    Poisson,
    Ramp,
    Replay,
)
from beyond_serve.bench.load.images import image_mix
from beyond_serve.bench.load.scenarios import SCENARIOS, Scenario
from beyond_serve.bench.load.spec import LoadSpec, Protocol, Target
from beyond_serve.errors import ConfigError

DEFAULT_CONCURRENCY = 16
_QUICK_S, _DEFAULT_S = 5.0, 20.0
_QUICK_WARMUP_S, _DEFAULT_WARMUP_S = 1.0, 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", help="http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT or grpcs://HOST:PORT"
    )
    _target_arguments(parser.add_argument_group("the server"))
    _arrival_arguments(parser.add_argument_group("the load; without one, a closed loop of 16"))
    length = parser.add_argument_group("how long, and by whom")
    length.add_argument(
        "--duration", type=float, metavar="S", help="measured seconds (default 20; --quick 5)"
    )
    length.add_argument(
        "--count", type=int, metavar="N", help="measured requests, instead of or beside a time"
    )
    length.add_argument("--warmup", type=float, metavar="S", help="seconds before, not counted (default 2)")
    length.add_argument("--workers", type=int, default=1, metavar="N", help="processes that send (default 1)")
    length.add_argument(
        "--cores", metavar="LIST", default="", help="pin the workers to these cores, as 1 or 2,3"
    )
    length.add_argument(
        "--timeout", type=float, default=30.0, metavar="S", help="of one request (default 30)"
    )
    length.add_argument("--connections", type=int, default=4096, metavar="N", help="most of each worker")
    parser.add_argument("--slo", type=float, metavar="MS", help="latency within which an answer is good")
    parser.add_argument("--no-traces", action="store_true", help="do not ask for the server's stages")
    parser.add_argument(
        "--no-requests", action="store_true", help="keep no row per request in the run's folder"
    )


def _target_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", default="", help="its name; may be left out while there is one")
    group.add_argument(
        "--protocol", choices=("predict", "v2-http", "v2-grpc"), help="default: predict; v2-grpc for grpc://"
    )
    group.add_argument("--payload", choices=("image", "tensor"), default="image", help="what is sent")
    group.add_argument(
        "--images",
        default="medium",
        metavar="SET",
        help="small, medium, large, 1080p, 12mpx, with weights as "
        "small:70,large:30, or a folder (default: medium)",
    )
    group.add_argument("--token", default="", help="what the server wants as bearer token")
    group.add_argument("--ca", default="", metavar="FILE", help="PEM file with the authority to trust")
    group.add_argument("--insecure", action="store_true", help="do not check the server's certificate")


def _arrival_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--concurrency", type=int, metavar="N", help="closed loop: N requests in flight")
    group.add_argument(
        "--rate", type=float, metavar="R", help="R requests/s, evenly; of --scenario Server too"
    )
    group.add_argument("--poisson", type=float, metavar="R", help="R requests/s, at random")
    group.add_argument("--burst", metavar="N/S", help="N requests at once, every S seconds")
    group.add_argument("--ramp", metavar="A:B", help="from A to B requests/s over the measured time")
    group.add_argument("--replay", metavar="FILE", help="recorded arrival times, seconds, one a line")
    group.add_argument("--scenario", choices=tuple(SCENARIOS), help="one of MLPerf Inference's")


def load_spec(given: argparse.Namespace) -> LoadSpec:
    """Raises:
    ConfigError: flags that contradict each other, or a value that cannot be used.
    """
    scenario = scenario_of(given)
    arrivals = _arrivals(given, scenario)
    replayed = isinstance(arrivals, Replay)
    count = given.count
    if count is None and scenario is not None and scenario.counted is not None and given.duration is None:
        count = scenario.counted if not given.quick else 512
    duration = given.duration
    if duration is None and count is None and not replayed:
        duration = _QUICK_S if given.quick else _DEFAULT_S
    warmup = given.warmup
    if warmup is None:
        # A recording is replayed as it is: nothing before it, and none of it left out.
        warmup = 0.0 if replayed else (_QUICK_WARMUP_S if given.quick else _DEFAULT_WARMUP_S)
    slo = given.slo if given.slo is not None or scenario is None else scenario.slo_ms
    target = _target(given)
    return LoadSpec(
        target=target,
        arrivals=arrivals,
        images=image_mix(given.images, given.seed) if target.payload == "image" else (),
        duration_s=duration,
        count=count,
        warmup_s=warmup,
        workers=given.workers,
        seed=given.seed,
        slo_ms=slo,
        timeout_s=given.timeout,
        traces=not given.no_traces,
        cores=_cores(given.cores),
        max_connections=given.connections,
    )


def scenario_of(given: argparse.Namespace) -> Scenario | None:
    return None if given.scenario is None else SCENARIOS[given.scenario]


def _target(given: argparse.Namespace) -> Target:
    protocol: Protocol = given.protocol or ("v2-grpc" if given.url.startswith("grpc") else "predict")
    if given.protocol is None and given.payload == "tensor" and protocol == "predict":
        protocol = "v2-http"
    return Target(
        url=given.url,
        protocol=protocol,
        model=given.model,
        token=given.token,
        tls_insecure=given.insecure,
        tls_ca=given.ca,
        payload=given.payload,
    )


def _arrivals(given: argparse.Namespace, scenario: Scenario | None) -> Arrivals:
    if scenario is not None:
        asked = [name for name in ("poisson", "burst", "ramp", "replay") if getattr(given, name) is not None]
        if asked:
            raise ConfigError(
                f"--scenario {scenario.name} brings its own arrivals", f"leave out --{asked[0]}"
            )
        return scenario.arrivals(given.rate, given.concurrency)
    makers: dict[str, Callable[..., Arrivals]] = {
        "concurrency": ClosedLoop,
        "rate": ConstantRate,
        "poisson": Poisson,
        "burst": _burst,
        "ramp": _ramp,
        "replay": read_recording,
    }
    asked = [name for name in makers if getattr(given, name) is not None]
    if len(asked) > 1:
        raise ConfigError(f"--{asked[0]} and --{asked[1]} contradict each other", "choose one load")
    return makers[asked[0]](getattr(given, asked[0])) if asked else ClosedLoop(DEFAULT_CONCURRENCY)


def _burst(text: str) -> Bursts:
    size, period = _two_numbers(text, "/", "--burst", "32/0.5")
    return Bursts(int(size), period)


def _ramp(text: str) -> Ramp:
    return Ramp(*_two_numbers(text, ":", "--ramp", "10:500"))


def _two_numbers(text: str, between: str, flag: str, example: str) -> tuple[float, float]:
    first, _, second = text.partition(between)
    try:
        return float(first), float(second)
    except ValueError:
        raise ConfigError(f"{flag} is '{text}'", f"write it as {example}") from None


def _cores(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"--cores is '{text}'", "write it as 1 or 2,3") from None


def read_recording(path: str) -> Replay:
    """Arrival times from a text file: the first field of each line is seconds, from any zero; lines that
    are empty or begin with # are skipped.

    Raises:
        ConfigError: it cannot be read, or a line is no number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise ConfigError(
            f"cannot read the recording {path}: {reason}", "one number of seconds a line"
        ) from None
    times = []
    for number, line in enumerate(lines, 1):
        field = line.replace(",", " ").split()[:1]
        if not field or field[0].startswith("#"):
            continue
        try:
            times.append(float(field[0]))
        except ValueError:
            raise ConfigError(
                f"{path}, line {number}: '{field[0]}' is no time", "seconds, as 12.345"
            ) from None
    first = min(times, default=0.0)
    return Replay(tuple(time - first for time in times))
