"""Devices that several models share."""

from __future__ import annotations

from collections.abc import Sequence

from beyond_serve.batching import DeviceShare
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.server.config import ModelConfig


class Devices:
    """A `DeviceShare` for each device, where more than one model is configured.

    State: the shares, by the device's name; one lives as long as the server.
    """

    def __init__(self, models: Sequence[ModelConfig], batches: int = 0) -> None:
        """
        Args:
            batches: that may run on one device at the same time; 0 for as many as the model with most
                instances has on each.
        """
        self._shared = len(models) > 1
        self._batches = batches or max((model.instances for model in models), default=1)
        self._shares: dict[str, DeviceShare] = {}

    def shares(self, infos: Sequence[EngineInfo]) -> dict[str, DeviceShare]:
        """What the models on these engines' devices take turns by, for each device; none where there is
        nothing to share."""
        if not self._shared:
            return {}
        return {
            info.device: self._shares.setdefault(info.device, DeviceShare(self._batches))
            for info in infos
            if not info.inline
        }
