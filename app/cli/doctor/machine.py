"""Checks of the machine: Python, and torch where it is installed."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from app.cli.doctor.finding import Finding
from app.settings import Settings

LEAST_PYTHON = (3, 11)
TORCH_SECONDS = 120

#: Prints one line for people; run by another process, since nothing under `app` imports torch.
ASK_TORCH = """
import torch
gpu = torch.cuda.is_available()
names = ", ".join(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())) if gpu else "no GPU"
print(f"torch {torch.__version__}, {names}")
"""


def python_version() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < LEAST_PYTHON:
        return Finding("Python", "wrong", f"{version} is too old: 3.11 or newer is needed")
    return Finding("Python", "ok", version)


def torch(_config: Settings) -> Finding:
    """Reports torch and the GPUs. A machine without torch can still serve the API."""
    try:
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Finding("Training", "note", "no torch on this machine: runs need a worker elsewhere (extra `worker`)")
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK_TORCH], check=False, capture_output=True, text=True, timeout=TORCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Finding("Training", "wrong", f"torch does not load within {TORCH_SECONDS} s: check the GPU's driver")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("Training", "wrong", f"torch does not load ({last}): reinstall the extra `worker`")
    version = done.stdout.strip()
    if Path("/proc/driver/nvidia/version").exists() and version.endswith("no GPU"):
        return Finding(
            "Training", "wrong", f"{version}, although a GPU driver is installed: this torch is built without CUDA"
        )
    return Finding("Training", "ok", version)
