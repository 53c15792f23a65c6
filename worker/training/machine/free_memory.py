"""Measures the memory that this process may still use, on a GPU or on the machine and in its container."""

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

#: The file systems in which Linux reports memory.
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Returns the free bytes of `device`. On a CPU the machine's memory is divided among its ranks."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, _total = torch.cuda.mem_get_info(device)
        return free
    free = free_of_machine(PROC, CGROUPS) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return int(min(free, _left_to_process()))


def free_of_machine(proc: Path, cgroups: Path) -> int:
    """Returns the bytes that the kernel counts as available, or fewer if a container has a limit."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        [available] = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([available, *_left_by_limits(proc, cgroups)])


def _left_to_process() -> float:
    """Returns the bytes left below RLIMIT_DATA, which the starter of this process may have set."""
    most, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if most == resource.RLIM_INFINITY:
        return math.inf
    try:
        lines = (PROC / "self" / "status").read_text().splitlines()
        [used] = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")]
    except (OSError, ValueError):  # not Linux
        return most
    return max(0, most - used)


def _left_by_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yields the bytes left in this process's control group and in all groups above it, versions 1 and 2."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            root, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, names = cgroups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = root / path.lstrip("/")
        while folder.is_relative_to(root):
            yield from _left(folder, *names)
            folder = folder.parent


def _left(folder: Path, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    """Yields the bytes left in a group.

    It yields nothing for a group without a limit or without a folder: a container does not see those above its own.
    """
    try:
        most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return
    yield max(0, most - used + int(counts.get(reclaimable, 0)))
