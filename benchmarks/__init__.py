"""Studies and measurements that take minutes: each has a make target, and leaves its figures in benchmarks/results."""

import os

#: Projects of benchmarks name a base model that nothing loads.
os.environ.setdefault("THUMBWHEEL_BASE_MODELS", "on_workers")
