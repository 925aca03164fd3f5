"""Which instance runs the next batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from beyond_serve.batching.device_share import DeviceShare, Member
from beyond_serve.batching.instance import Instance


class FreeInstances:
    """A model's instances that have nothing to run, and its turns on the devices that it shares.

    The next batch goes to the device that runs fewest batches, of equals to the one with the instance that
    has been free longest, and there to the instance that was freed last. Where models share devices, it
    goes to the least busy one of those on which it is this model's turn.

    Attributes:
        free: for others to look at only; the same list as long as this lives.

    State: the free instances, this model's batches on each device, its member of each shared device.
    Owned by the event loop.

    Guarantee: after `take` gave nothing, or a turn came that could not be used, the model waits in the
    share of each device on which it has a free instance, or in none: no share waits for it in vain.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """
        Args:
            wake: to look again at what waits, since the turn has come on some device.
        """
        self._wake = wake
        self.free: list[Instance] = []
        self._running: dict[str, int] = {}
        self._turns: dict[str, Member] = {}

    def share(self, shares: Mapping[str, DeviceShare], weight: float) -> None:
        """From now on a batch also needs a slot of its device's share. Call it before the first batch.

        Args:
            shares: by device; for those that are missing nobody's leave is needed.
        """
        for device, share in shares.items():
            self._turns[device] = share.join(weight, partial(self._turn_came, device))

    def add(self, instance: Instance) -> None:
        """`instance` is new and may be given a batch."""
        self._running.setdefault(instance.device, 0)
        self.free.append(instance)

    def remove(self, instance: Instance) -> None:
        """`instance` takes no batch any more, if it was free to."""
        if instance in self.free:
            self.free.remove(instance)

    def take(self) -> Instance | None:
        """An instance that may run a batch now, which is no longer free; None if there is none, or it is
        others' turn on every device that has one."""
        if len(self._running) < 2 and not self._turns and self.free:
            # Nearly always: there is nothing to choose.
            instance = self.free.pop()
            self._running[instance.device] += 1
            return instance
        for instance in self._candidates():
            turn = self._turns.get(instance.device)
            if turn is None or turn.share.ask(turn):
                self.free.remove(instance)
                self._running[instance.device] += 1
                return instance
        return None

    def ended(self, instance: Instance, took_ns: int, *, reusable: bool) -> None:
        """A batch on `instance`, which `take` gave, ended and took so long."""
        # First, since the turn may come at once.
        if reusable:
            self.free.append(instance)
        self._running[instance.device] -= 1
        if self._turns and (turn := self._turns.get(instance.device)) is not None:
            turn.share.ended(turn, took_ns)

    def want_nothing(self) -> None:
        """Nothing waits for a batch: others may go first on every device."""
        if not self._turns:
            return
        for turn in self._turns.values():
            turn.share.withdraw(turn)

    def _candidates(self) -> list[Instance]:
        """Of each device the instance that was freed last, the least busy device first."""
        free = self.free
        if len(free) == 1:
            return [free[0]]
        last = {instance.device: instance for instance in free}
        if len(last) == 1:
            return free[-1:]
        return sorted(last.values(), key=self._busy)

    def _busy(self, instance: Instance) -> int:
        turn = self._turns.get(instance.device)
        return self._running[instance.device] if turn is None else turn.share.running

    def _turn_came(self, device: str) -> None:
        if any(instance.device == device for instance in self.free):
            self._wake()
        else:
            # Its instance was lost meanwhile: the slot must not wait for it.
            turn = self._turns[device]
            turn.share.withdraw(turn)
