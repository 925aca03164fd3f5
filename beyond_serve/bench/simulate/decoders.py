"""Emulated decoding workers in virtual time, behind the real preprocess stage."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from beyond_serve.bench.simulate.clock import VirtualClock
from beyond_serve.preprocess.formats.image_header import ImageHeader
from beyond_serve.preprocess.image_pool import Job, Stamps


@dataclass(frozen=True, slots=True)
class SimImage:
    """One kind of image.

    Attributes:
        bytes: of the encoded image.
        host_ms: on one of the shared workers.
        device_ms: after that, on one of the devices' own decoders; 0 for what the host decodes whole.
        weight: how often it comes, beside the others.
    """

    name: str
    bytes: int
    width: int
    height: int
    host_ms: float
    device_ms: float = 0.0
    weight: float = 1.0

    @property
    def header(self) -> ImageHeader:
        return ImageHeader("jpeg", self.width, self.height, 3, 8, False, 1, "ycc")


@dataclass(frozen=True, slots=True)
class Decoding:
    """What decodes.

    Attributes:
        images: the mix that comes.
        workers: shared by all instances.
        device_decoders: of all devices together; 0 where nothing is decoded on a device.
    """

    images: tuple[SimImage, ...]
    workers: int
    device_decoders: int = 0


class _Servers:
    """`count` of one kind, first come first served."""

    def __init__(self, count: int, clock: VirtualClock) -> None:
        self._free = count
        self._clock = clock
        self._waiting: deque[tuple[int, Callable[[], None], Callable[[], None]]] = deque()

    def serve(self, took_ns: int, started: Callable[[], None], ended: Callable[[], None]) -> None:
        if self._free:
            self._start(took_ns, started, ended)
        else:
            self._waiting.append((took_ns, started, ended))

    def _start(self, took_ns: int, started: Callable[[], None], ended: Callable[[], None]) -> None:
        self._free -= 1
        started()

        def through() -> None:
            self._free += 1
            if self._waiting:
                self._start(*self._waiting.popleft())
            ended()

        self._clock.call_exactly_at_ns(self._clock.now_ns() + took_ns, through)


class SimPool:
    """What `PreprocessStage` needs of an `ImagePool`: every job ends with its stamps after its image's time.

    Jobs run in the order of their submission. The native pool lets short images pass long ones, which
    changes who waits and not how much is decoded.
    """

    def __init__(self, decoding: Decoding, clock: VirtualClock) -> None:
        self._clock = clock
        self._host = _Servers(decoding.workers, clock)
        self._device = _Servers(decoding.device_decoders, clock) if decoding.device_decoders else None
        self._times_ns = {
            image.header: (round(image.host_ms * 1e6), round(image.device_ms * 1e6))
            for image in decoding.images
        }

    def submit(self, job: Job) -> None:
        now_ns = self._clock.now_ns
        host_ns, device_ns = self._times_ns[job.header]
        began_ns = 0

        def started() -> None:
            nonlocal began_ns
            began_ns = now_ns()

        def on_device() -> None:
            if self._device is not None and device_ns:
                self._device.serve(device_ns, _nothing, through)
            else:
                through()

        def through() -> None:
            job.done(Stamps(began_ns, now_ns(), now_ns()), None)

        self._host.serve(host_ns, started, on_device)


def _nothing() -> None:
    pass
