"""Describes the machine of a measurement: enough to compare figures, without the machine's name."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def described(*packages: str) -> dict[str, Any]:
    """Returns processor, cores, memory, Python and the versions of `packages`."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gigabytes": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
