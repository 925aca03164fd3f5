"""Turns of several models on one device, by weight (start-time fair queueing, Goyal et al. 1996)."""

from __future__ import annotations

from collections.abc import Callable


class DeviceShare:
    """Lets at most `slots` batches run at the same time, and divides the time among the members.

    Each member has a virtual time: what its batches took, over its weight. A free slot goes to the
    waiting member whose virtual time is least, so that members that always have work get time in
    proportion to their weights, and one that rests loses nothing but what it did not use.

    State: virtual times, who waits, how many batches run. Owned by the event loop.

    Guarantee: while a slot is free and a member waits, the one whose turn it is has been woken.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running = 0
        # The virtual time at which the last batch started; it never falls, since the least goes first and
        # nobody asks with less.
        self._now = 0.0
        # By when they asked. Dictionaries keep that order and tell membership at once.
        self._waiting: dict[Member, None] = {}

    def join(self, weight: float, wake: Callable[[], None]) -> Member:
        """A new member; `wake` tells it to ask again."""
        return Member(self, weight, wake)

    def leave(self, member: Member) -> None:
        """`member` is going and asks no more; what it runs must still be reported."""
        self.withdraw(member)

    def ask(self, member: Member) -> bool:
        """A slot for one batch of `member`, or False: it will be woken when it should ask again."""
        if member not in self._waiting:
            # What it did not ask for while others ran is not owed to it.
            member.virtual_ns = max(member.virtual_ns, self._now)
            self._waiting[member] = None
        if self.running >= self.slots or self._first() is not member:
            return False
        del self._waiting[member]
        self.running += 1
        self._now = member.virtual_ns
        self._wake()
        return True

    def withdraw(self, member: Member) -> None:
        """`member` has nothing to run, though it may have asked."""
        if member in self._waiting:
            del self._waiting[member]
            self._wake()

    def ended(self, member: Member, took_ns: int) -> None:
        """A batch of `member` that ran in its slot took so long."""
        self.running -= 1
        member.virtual_ns += took_ns / member.weight
        self._wake()

    def _first(self) -> Member:
        return min(self._waiting, key=lambda member: member.virtual_ns)

    def _wake(self) -> None:
        if self._waiting and self.running < self.slots:
            self._first().wake()


class Member:
    """One model's part in a `DeviceShare`."""

    def __init__(self, share: DeviceShare, weight: float, wake: Callable[[], None]) -> None:
        self.share = share
        self.weight = weight
        self.wake = wake
        self.virtual_ns = 0.0
