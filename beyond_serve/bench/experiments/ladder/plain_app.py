"""What one writes before one has an inference server: aiohttp, Pillow, NumPy, ONNX Runtime.

The same preprocessing as the server's for the same model (its plan is read from the same files), the same
`/predict`. Without threads each request is decoded and inferred before the next is looked at; with them
Pillow decodes in a pool, and inference, one image at a time, in a thread of its own.

Run as a module: PORT MODEL THREADS, 0 threads for none.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.foreign import require
from beyond_serve.engines.image_input import ImageInput, image_input
from beyond_serve.preprocess.plan import Interpolation, PreprocessPlan
from beyond_serve.preprocess.presets import load_plan

_FILTERS = {
    Interpolation.NEAREST: Image.Resampling.NEAREST,
    Interpolation.BOX: Image.Resampling.BOX,
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.HAMMING: Image.Resampling.HAMMING,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
}
_TOP = 5
_MODULE = "beyond_serve.bench.experiments.ladder.plain_app"


class PlainModel:
    """An ONNX file behind Pillow and NumPy. Both steps are safe on many threads.

    Raises:
        BeyondError: the file cannot be served, as `beyond-serve` would say it.
    """

    def __init__(self, path: Path) -> None:
        description = describe_model(str(path))
        self.plan: PreprocessPlan = load_plan(path, description.image_size)[0]
        height, width, _ = self.plan.output_shape
        self._input: ImageInput = image_input(description, self.plan.normalization, (height, width))[0]
        options = require("onnxruntime").SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self._session: Any = require("onnxruntime").InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._scores = description.scores or description.outputs[0].name

    def preprocess(self, body: bytes) -> NDArray[np.generic]:
        """Encoded bytes to the model's input [1, …], as tutorials do it."""
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
        pixels = np.asarray(self._cut(image.convert("L" if self._input.channels == 1 else "RGB")))
        pixels = pixels.reshape(*pixels.shape[:2], self._input.channels)
        if self._input.reverse:
            pixels = pixels[..., ::-1]
        if self._input.gain is not None and self._input.offset is not None:
            pixels = pixels.astype(np.float32) * self._input.gain - self._input.offset
            pixels = pixels.astype(np.float16 if self._input.datatype == "FP16" else np.float32)
        if self._input.layout == "NCHW":
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels[None])

    def _cut(self, image: Image.Image) -> Image.Image:
        width, height = self.plan.resized_size(*image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), _FILTERS[self.plan.interpolation])
        if self.plan.crop is None:
            return image
        high, wide = self.plan.crop
        left, top = round((width - wide) / 2), round((height - high) / 2)
        return image.crop((left, top, left + wide, top + high))

    def infer(self, row: NDArray[np.generic]) -> list[dict[str, object]]:
        """The five best classes of one image."""
        scores = self._session.run([self._scores], {self._input.name: row})[0].reshape(-1)
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
        best = np.argsort(scores)[::-1][:_TOP]
        return [{"label": str(i), "index": int(i), "score": float(scores[i])} for i in best]


async def serve(port: int, model: PlainModel, name: str, threads: int) -> None:
    """Until cancelled."""
    from aiohttp import web

    decoders = ThreadPoolExecutor(threads) if threads else None
    inference = ThreadPoolExecutor(1) if threads else None
    loop = asyncio.get_running_loop()

    async def predict(request: web.Request) -> web.Response:
        body = await request.read()
        if decoders is None:
            best = model.infer(model.preprocess(body))
        else:
            row = await loop.run_in_executor(decoders, model.preprocess, body)
            best = await loop.run_in_executor(inference, model.infer, row)
        return web.json_response({"model": name, "predictions": best})

    async def empty(_request: web.Request) -> web.Response:
        # The bench reads every server's counters; this one has none.
        return web.Response(text="")

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes([web.post("/predict", predict), web.get("/metrics", empty), web.get("/healthz", empty)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        for pool in (decoders, inference):
            if pool is not None:
                pool.shutdown()


def main() -> None:
    port, path, threads = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    asyncio.run(serve(port, PlainModel(path), path.stem, threads))


def command(port: int, path: str, threads: int) -> list[str]:
    """The command line of this program, in this interpreter."""
    return [sys.executable, "-m", _MODULE, str(port), path, str(threads)]


if __name__ == "__main__":
    main()
