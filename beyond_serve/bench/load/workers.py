"""Worker processes from their parent's side: started, told, listened to, ended."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Any

import orjson

from beyond_serve.bench.load.plan import WorkerPlan
from beyond_serve.bench.load.rows import Rows, file_size, shared_file

WORKER_MODULE = "beyond_serve.bench.load.worker"


class WorkerProcess:
    """One worker. Owns the process and the rows' file; `rows` can be read until `close`.

    A plain subprocess and not multiprocessing, which would run the caller's main module again.

    Attributes:
        ready: it waits for `start`.
        report: what it said when it was done; None before, and for ever if it died.
        ended: it says no more.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        self.plan = plan
        size = file_size(plan.capacity, traced=plan.wire.traced)
        descriptor = shared_file(size)
        try:
            self.rows = Rows(descriptor, plan.capacity, traced=plan.wire.traced)
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
            self._process = subprocess.Popen(
                [sys.executable, "-m", WORKER_MODULE, str(descriptor)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                pass_fds=(descriptor,),
                # Ctrl-C at the terminal is for the parent, also while this one still starts.
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(descriptor)
        self.ready = False
        self.ended = False
        self.report: dict[str, Any] | None = None
        self._heard = b""

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send_plan(self) -> None:
        """The plan may be many megabytes, and is taken while the worker starts."""
        pickled = pickle.dumps(self.plan, pickle.HIGHEST_PROTOCOL)
        self._tell(len(pickled).to_bytes(8, "little") + pickled)

    def start(self, start_ns: int) -> None:
        self._tell(b"start %d\n" % start_ns)

    def stop(self) -> None:
        """Send no more; what is on its way has a second."""
        self._tell(b"stop\n")

    def _tell(self, message: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        # A worker that died is found by its silence.
        with contextlib.suppress(BrokenPipeError, ValueError):
            view = memoryview(message)
            while view:
                view = view[stdin.write(view) or 0 :]

    def fileno(self) -> int:
        """Readable when `hear` has something to hear."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def hear(self) -> None:
        """Take what the worker has said."""
        data = os.read(self.fileno(), 65536)
        if not data:
            self.ended = True
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            message = orjson.loads(line)
            if message["state"] == "ready":
                self.ready = True
            else:
                self.report = message

    def last_words(self) -> str:
        """Why it died, as far as it could say."""
        code = self._process.wait()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return f"exit status {code}{': ' + said[-1][:300] if said else ''}"

    def close(self) -> None:
        """End it, however it is."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            assert pipe is not None
            pipe.close()
