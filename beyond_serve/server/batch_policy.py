"""From a model's configuration to its batching policy and its largest batch. Pure."""

from __future__ import annotations

from beyond_serve.batching import AdaptivePolicy, BatchPolicy, DeadlinePolicy, DeferredPolicy, FixedPolicy
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.server.config import ModelConfig

AUTO_FIXED = 32
"""The largest batch of the policy "fixed" where none is given."""

AUTO_LIMIT = 64
"""The other policies look for the best batch up to here where none is given: an invented number."""


def make_policy(config: ModelConfig) -> BatchPolicy:
    """The policy that `config` names."""
    delay_ns = config.max_delay_us * 1000
    match config.policy:
        case "adaptive":
            return AdaptivePolicy(config.instances, delay_ns)
        case "deadline":
            return DeadlinePolicy(config.instances)
        case "deferred":
            return DeferredPolicy(config.instances, delay_ns)
        case _:
            return FixedPolicy(delay_ns)


def finds_knee(config: ModelConfig, info: EngineInfo) -> bool:
    """Whether the largest batch follows from what batches cost."""
    return config.max_batch == 0 and config.policy != "fixed" and info.fixed_batch is None


def asked_max_batch(config: ModelConfig) -> int:
    """The largest batch that the model is loaded for."""
    return config.max_batch or (AUTO_FIXED if config.policy == "fixed" else AUTO_LIMIT)


def largest_batch(config: ModelConfig, info: EngineInfo) -> int:
    """A model whose batch is fixed takes no more than that."""
    asked = asked_max_batch(config)
    return asked if info.fixed_batch is None else min(asked, info.fixed_batch)
