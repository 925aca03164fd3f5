"""`python3 -m beyond_serve.bench.gpu_check`."""

from __future__ import annotations

from beyond_serve.bench.gpu_check.main import main

if __name__ == "__main__":
    main()
