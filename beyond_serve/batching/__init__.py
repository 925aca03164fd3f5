"""What a request is, its trace, and when waiting requests become a batch. Standard library only."""

from beyond_serve.batching.admission import Admission
from beyond_serve.batching.arrivals import ArrivalRate
from beyond_serve.batching.batch import Batch
from beyond_serve.batching.batcher import Batcher
from beyond_serve.batching.clock import Clock, LoopClock, Timer
from beyond_serve.batching.cost import BatchCost
from beyond_serve.batching.deadline_policies import DeadlinePolicy, DeferredPolicy
from beyond_serve.batching.device_share import DeviceShare
from beyond_serve.batching.instance import BatchObserver, Instance
from beyond_serve.batching.lane import NEVER_NS, Lane
from beyond_serve.batching.levels import Levels
from beyond_serve.batching.policy import (
    AdaptivePolicy,
    BatchPolicy,
    Dispatch,
    FixedPolicy,
    QueueView,
    Release,
    WaitUntil,
)
from beyond_serve.batching.request import Request, Slot, State
from beyond_serve.batching.trace import STAGES, BatchTiming, Trace

__all__ = [
    "NEVER_NS",
    "STAGES",
    "AdaptivePolicy",
    "Admission",
    "ArrivalRate",
    "Batch",
    "BatchCost",
    "BatchObserver",
    "BatchPolicy",
    "BatchTiming",
    "Batcher",
    "Clock",
    "DeadlinePolicy",
    "DeferredPolicy",
    "DeviceShare",
    "Dispatch",
    "FixedPolicy",
    "Instance",
    "Lane",
    "Levels",
    "LoopClock",
    "QueueView",
    "Release",
    "Request",
    "Slot",
    "State",
    "Timer",
    "Trace",
    "WaitUntil",
]
