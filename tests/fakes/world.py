"""A batcher with fake instances that end their batches when the test says so."""

from __future__ import annotations

from beyond_serve.batching import Admission, Batcher, BatchPolicy, FixedPolicy, Request
from tests.fakes.batching import Ended, FakeInstance, make_request
from tests.fakes.clock import FakeClock

MS = 1_000_000


class World:
    def __init__(
        self,
        *,
        delay_ns: int = 0,
        max_batch: int = 4,
        instances: int = 1,
        capacity: int = 100,
        policy: BatchPolicy | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.admission = Admission(capacity)
        self.batcher = Batcher(
            policy or FixedPolicy(delay_ns), self.admission, self.clock, max_batch=max_batch
        )
        self.instances = [FakeInstance(f"i{n}", self.batcher, self.clock) for n in range(instances)]
        self.ended = Ended()
        for instance in self.instances:
            self.batcher.instance_ready(instance)
        self.clock.settle()

    def enqueue(
        self, *payloads: object, key: object = "image", deadline_ns: int | None = None
    ) -> list[Request]:
        requests = [
            make_request(
                p, self.clock, self.ended, key=key, deadline_ns=deadline_ns, admission=self.admission
            )
            for p in payloads
        ]
        for request in requests:
            self.batcher.enqueue(request)
        return requests

    def sizes(self) -> list[int]:
        return [len(batch) for instance in self.instances for batch in instance.batches]
