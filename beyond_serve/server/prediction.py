"""The JSON of one prediction.

An answer's text is the same but for its scores and its order, so it is put together from parts made
once; that costs a third of building the objects and encoding them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from beyond_serve.batching import Request
from beyond_serve.server.call import outputs_of

if TYPE_CHECKING:
    from beyond_serve.server.model import Model


class PredictionEncoder:
    """Encodes a model's answers: `{"model", "predictions": [{"label", "index", "score"}, …], "trace"?}`.

    State: a fragment for each class seen so far, and the lists of the batch asked about last: requests
    of a batch are answered one after the other, and converting it once is cheaper than row by row.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._head = b'{"model":' + orjson.dumps(model.name) + b',"predictions":['
        self._fragments: dict[int, bytes] = {}
        self._outputs: object = None
        self._indices: list[list[int]] = []
        self._scores: list[bytes] = []

    def encode(self, request: Request, top_k: int, trace: Mapping[str, object] | None) -> bytes:
        """The best `top_k` classes of a request that succeeded, best first."""
        outputs = outputs_of(request)
        if outputs is not self._outputs:
            assert outputs.top_scores is not None
            assert outputs.top_indices is not None
            self._indices = outputs.top_indices.tolist()
            self._scores = orjson.dumps(outputs.top_scores.tolist())[2:-2].split(b"],[")
            self._outputs = outputs
        row, fragments = request.index, self._fragments
        # A batch ranks as many classes as its most demanding request asked for.
        best = [
            (fragments.get(index) or self._fragment(index)) + score
            for index, score in zip(self._indices[row][:top_k], self._scores[row].split(b","), strict=False)
        ]
        end = b"}]}" if trace is None else b'}],"trace":' + orjson.dumps(trace) + b"}"
        return self._head + b"},".join(best) + end

    def _fragment(self, index: int) -> bytes:
        """What stands before a class's score. A class without a label is labelled by its index."""
        labels = self.model.labels
        label = labels[index] if labels is not None and index < len(labels) else str(index)
        made = b'{"label":' + orjson.dumps(label) + b',"index":%d,"score":' % index
        self._fragments[index] = made
        return made
