"""What a request is, its trace, and when waiting requests become a batch. Standard library only."""

from beyond_serve.batching.admission import Admission
from beyond_serve.batching.batch import Batch
from beyond_serve.batching.batcher import Batcher, BatchObserver, Instance
from beyond_serve.batching.clock import Clock, LoopClock, Timer
from beyond_serve.batching.lane import Lane
from beyond_serve.batching.policy import BatchPolicy, Dispatch, FixedPolicy, QueueView, WaitUntil
from beyond_serve.batching.request import Request, Slot, State
from beyond_serve.batching.trace import STAGES, BatchTiming, Trace

__all__ = [
    "STAGES",
    "Admission",
    "Batch",
    "BatchObserver",
    "BatchPolicy",
    "BatchTiming",
    "Batcher",
    "Clock",
    "Dispatch",
    "FixedPolicy",
    "Instance",
    "Lane",
    "LoopClock",
    "QueueView",
    "Request",
    "Slot",
    "State",
    "Timer",
    "Trace",
    "WaitUntil",
]
