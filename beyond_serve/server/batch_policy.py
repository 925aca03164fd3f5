"""From a model's configuration to its batching policy and its largest batch. Pure."""

from __future__ import annotations

from beyond_serve.batching import AdaptivePolicy, BatchPolicy, DeadlinePolicy, DeferredPolicy, FixedPolicy
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.server.config import ModelConfig

AUTO_FIXED = 32
"""The largest batch of the policy "fixed" where none is given."""

AUTO_LIMIT = 64
"""The other policies look for the best batch up to here where none is given: an invented number."""


def make_policy(config: ModelConfig, devices: int = 1) -> BatchPolicy:
    """The policy that `config` names, for a model with its instances on each of so many devices."""
    delay_ns = config.max_delay_us * 1000
    instances = config.instances * devices
    match config.policy:
        case "adaptive":
            return AdaptivePolicy(instances, delay_ns)
        case "deadline":
            return DeadlinePolicy(instances)
        case "deferred":
            return DeferredPolicy(instances, delay_ns)
        case _:
            return FixedPolicy(delay_ns)


def finds_knee(config: ModelConfig, info: EngineInfo) -> bool:
    """Whether the largest batch follows from what batches cost."""
    return config.max_batch == 0 and config.policy != "fixed" and info.fixed_batch is None


def asked_max_batch(config: ModelConfig) -> int:
    """The largest batch that the model is loaded for."""
    return config.max_batch or (AUTO_FIXED if config.policy == "fixed" else AUTO_LIMIT)


def largest_batch(config: ModelConfig, info: EngineInfo) -> int:
    """A model whose batch is fixed or limited takes no more than that."""
    limits = (asked_max_batch(config), info.fixed_batch, info.max_batch)
    return min(limit for limit in limits if limit is not None)


def limit_warning(config: ModelConfig, info: EngineInfo) -> tuple[str, ...]:
    """What to tell a user who asked for larger batches than the model's file allows: they are kept smaller,
    and the server starts, since one --max-batch may stand for several models."""
    if info.max_batch is None or config.max_batch <= info.max_batch:
        return ()
    return (
        f"batches of up to {info.max_batch}, not {config.max_batch}: the model's file allows no more "
        f"(build it anew with --max-batch {config.max_batch}, or ask for {info.max_batch})",
    )
