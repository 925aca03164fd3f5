"""The same job in mosec: decode in worker processes, an emulated accelerator behind a dynamic batcher.

Set up as mosec's documentation recommends: a preprocessing stage of one process per core, an
inference stage with max_batch_size and max_wait_time. The host's work is what libraries do best:
simplejpeg's scaled decode, crop, OpenCV resize. Run as a module: `--port N --timeout 10000`.
"""

from __future__ import annotations

import os
import time

import cv2
import numpy as np
import simplejpeg
from mosec import Server, Worker

TABLE_BATCH = (1, 8, 32)
TABLE_MS = (3.5, 6.8, 18.0)


class Preprocess(Worker):  # type: ignore[misc]
    """Encoded bytes to uint8 [224, 224, 3]."""

    def __init__(self) -> None:
        # One image per process: threads inside one would only fight with the others.
        cv2.setNumThreads(1)

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> np.ndarray:
        pixels = simplejpeg.decode_jpeg(data, min_height=256, min_width=256)
        height, width = pixels.shape[:2]
        side = round(min(height, width) * 224 / 256)
        top, left = (height - side) // 2, (width - side) // 2
        row: np.ndarray = cv2.resize(pixels[top : top + side, left : left + side], (224, 224))
        return row


class Infer(Worker):  # type: ignore[misc]
    """Sleeps as the table says and answers five classes."""

    def forward(self, data: list[np.ndarray]) -> list[dict[str, object]]:
        np.stack(data)
        time.sleep(float(np.interp(len(data), TABLE_BATCH, TABLE_MS)) / 1000)
        top = [{"label": str(index), "index": index, "score": 0.2} for index in range(5)]
        return [{"model": "sim", "predictions": top} for _ in data]


def main() -> None:
    server = Server()
    server.append_worker(Preprocess, num=len(os.sched_getaffinity(0)))
    server.append_worker(Infer, num=1, max_batch_size=32, max_wait_time=2)
    server.run()


if __name__ == "__main__":
    main()
