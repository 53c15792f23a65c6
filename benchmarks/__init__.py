"""Studies and measurements that take minutes. Each has a make target and writes its figures to benchmarks/results."""

import os

#: No benchmark loads its project's base model.
os.environ.setdefault("THUMBWHEEL_BASE_MODELS", "on_workers")
