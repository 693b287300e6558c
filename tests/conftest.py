"""Workers of pytest-xdist share the cores: each computes with one thread, and so do the programs it starts."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
