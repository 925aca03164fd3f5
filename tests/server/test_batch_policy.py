from __future__ import annotations

from dataclasses import replace

from beyond_serve.batching import AdaptivePolicy
from beyond_serve.server.batch_policy import largest_batch, limit_warning, make_policy
from beyond_serve.server.config import ModelConfig
from tests.fakes.engines import INFO


def config(max_batch: int = 0, **options: object) -> ModelConfig:
    return ModelConfig("m", "m.plan", max_batch=max_batch, **options)  # type: ignore[arg-type]


def test_no_batch_is_larger_than_the_models_file_allows() -> None:
    assert largest_batch(config(128), INFO) == 128
    assert largest_batch(config(128), replace(INFO, max_batch=64)) == 64
    assert largest_batch(config(16), replace(INFO, max_batch=64)) == 16
    assert largest_batch(config(), replace(INFO, max_batch=8)) == 8
    assert largest_batch(config(128), replace(INFO, max_batch=64, fixed_batch=4)) == 4


def test_who_asked_for_more_is_told() -> None:
    (warning,) = limit_warning(config(128), replace(INFO, max_batch=64))
    assert "up to 64, not 128" in warning
    assert not limit_warning(config(64), replace(INFO, max_batch=64))
    assert not limit_warning(config(), replace(INFO, max_batch=8)), "nobody asked"
    assert not limit_warning(config(128), INFO)


def test_a_policy_counts_the_instances_of_all_devices() -> None:
    policy = make_policy(config(instances=2, policy="adaptive"), devices=3)
    assert isinstance(policy, AdaptivePolicy)
    assert policy.instances == 6
