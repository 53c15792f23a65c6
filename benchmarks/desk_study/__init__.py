"""Shared parts of the studies that train models of the demo's support desk: staging, cached trials, intervals."""

import os

# Torch reads these when it is loaded. Parallel trials must not compete for cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
