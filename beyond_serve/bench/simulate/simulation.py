"""One run: the server's own entrance, queue, preprocess stage and batcher, put together in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from beyond_serve.batching import Admission, Batcher, Trace
from beyond_serve.bench.simulate.arrivals import Closed, arrival_times
from beyond_serve.bench.simulate.clock import VirtualClock
from beyond_serve.bench.simulate.decoders import Decoding, SimPool
from beyond_serve.bench.simulate.instance import Jitter, SimInstance
from beyond_serve.bench.simulate.record import Outcome, Recorder, SimRequest
from beyond_serve.bench.simulate.result import SimResult
from beyond_serve.bench.simulate.scenario import Scenario
from beyond_serve.engines.protocol import IMAGE
from beyond_serve.engines.slots import SlotArena
from beyond_serve.server.batch_policy import make_policy
from beyond_serve.server.entrance import Entrance
from beyond_serve.server.stage import ImageLine, PreprocessStage

_ARRIVALS, _JITTER, _LEVELS, _IMAGES = range(4)


def simulate(scenario: Scenario) -> SimResult:
    """Let every request of `scenario` arrive and end. Same scenario, same result, to the nanosecond."""
    return _Simulation(scenario).run()


class _Simulation:
    """The parts of one server. State: all of it is this run's."""

    def __init__(self, scenario: Scenario) -> None:
        model = scenario.model
        self._scenario = scenario
        self._clock = VirtualClock(scenario.grain_us * 1000)
        self._admission = Admission(model.max_queue, model.levels, round(model.max_queue_mb * 2**20))
        self._recorder = Recorder(scenario.requests, self._clock.now_ns, lambda: self._admission.waiting)
        self._batcher = Batcher(
            make_policy(model),
            self._admission,
            self._clock,
            max_batch=scenario.max_batch,
            cost=scenario.cost,
        )
        self._entrance = Entrance("simulated", self._admission, self._batcher, self._clock)
        latencies_ns = scenario.latency.by_size(scenario.max_batch)
        for number in range(model.instances):
            instance = SimInstance(
                f"simulated-{number}",
                self._batcher,
                self._clock,
                latencies_ns,
                self._recorder,
                self._jitter(number),
            )
            self._batcher.instance_ready(instance)
        self._line = self._decoders(scenario.decoding) if scenario.decoding is not None else None
        self._payloads = self._made_payloads()
        self._levels = self._drawn_levels()
        self._slo_ns = round(scenario.slo_ms * 1e6) if scenario.slo_ms is not None and scenario.told else 0
        self._done: Callable[[Any], None] = self._recorder.done

    def run(self) -> SimResult:
        scenario = self._scenario
        if isinstance(scenario.arrivals, Closed):
            self._start_clients(scenario.arrivals)
            self._clock.run()
        else:
            seed = int(np.random.SeedSequence((scenario.seed, _ARRIVALS)).generate_state(1)[0])
            times = arrival_times(scenario.arrivals, scenario.requests, seed)
            self._clock.run(times.tolist(), self._arrive)
        return SimResult(scenario, self._recorder)

    def _arrive(self, number: int) -> None:
        now_ns, recorder = self._clock.now_ns(), self._recorder
        recorder.arrived_ns[number] = now_ns
        levels = self._admission.levels
        level = levels.default if self._levels is None else self._levels[number]
        payload, header = self._payloads[number] if self._payloads else (b"", None)
        trace = Trace(now_ns, now_ns)
        trace.admitted = now_ns
        deadline_ns = now_ns + self._slo_ns if self._slo_ns else None
        request = SimRequest(number, payload, IMAGE, trace, self._done, deadline_ns, level)
        if level != levels.default:
            request.handicap_ns = levels.handicap_ns(level)
        if not self._entrance.admit([request], len):
            return
        line = self._line
        if line is not None:
            request.header = header
        if self._entrance.refuse_late(request, line):
            recorder.outcome[number] = Outcome.REFUSED
        elif line is not None:
            line.enqueue(request)
        else:
            self._batcher.enqueue(request)

    def _start_clients(self, closed: Closed) -> None:
        left = iter(range(self._scenario.requests))
        clock, record = self._clock, self._recorder.done

        def send() -> None:
            number = next(left, None)
            if number is not None:
                self._arrive(number)

        def done(request: Any) -> None:
            record(request)
            clock.call_exactly_at_ns(clock.now_ns() + closed.think_ns, send)

        self._done = done
        for client in range(closed.concurrency):
            # Over one think time: clients that start as one would stay one.
            clock.call_exactly_at_ns(client * closed.think_ns // closed.concurrency, send)

    def _jitter(self, number: int) -> Callable[[], float] | None:
        if not self._scenario.latency.jitter:
            return None
        return Jitter(self._scenario.latency.jitter, self._generator(_JITTER, number)).next

    def _decoders(self, decoding: Decoding) -> ImageLine:
        model, workers = self._scenario.model, decoding.workers + decoding.device_decoders
        # A pool by its two methods; it has no threads and no event loop.
        stage = PreprocessStage(cast(Any, SimPool(decoding, self._clock)), workers, self._clock)
        arena = SlotArena(model.instances * 2 * self._scenario.max_batch + 2 * workers, (1, 1, 3))
        line = stage.line(
            cast(Any, None), arena, self._batcher.enqueue, by_deadline=make_policy(model).by_deadline
        )
        line.least_batch_ns = lambda: self._batcher.cost.latency_ns(1)
        return line

    def _made_payloads(self) -> list[tuple[bytes, object]] | None:
        """By request, its encoded bytes and header; the bytes are shared, for only their number counts."""
        decoding = self._scenario.decoding
        if decoding is None:
            return None
        kinds = [(bytes(image.bytes), image.header) for image in decoding.images]
        weights = np.array([image.weight for image in decoding.images])
        chosen = self._generator(_IMAGES).choice(
            len(kinds), self._scenario.requests, p=weights / weights.sum()
        )
        return [kinds[kind] for kind in chosen.tolist()]

    def _drawn_levels(self) -> list[int] | None:
        shares = np.array(self._scenario.priorities)
        if len(shares) == 0:
            return None
        drawn = self._generator(_LEVELS).choice(len(shares), self._scenario.requests, p=shares / shares.sum())
        levels: list[int] = (drawn + 1).tolist()
        return levels

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self._scenario.seed, *stream))
