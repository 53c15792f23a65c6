"""The conditions under which a run gives the same bits again, for training.json."""

import os
import platform
from typing import Any

import peft
import torch
import transformers

from worker.training.models.policy import Arithmetic

CPU = "the same bits on the same processor with the versions, threads and ranks named here, however often it is resumed"
GPU = (
    "the same bits are likely on the same GPU, driver and versions, not promised: operations without a deterministic "
    "kernel only warn, and libraries may choose other kernels where memory or other work differ"
)


def determinism_record(arithmetic: Arithmetic, threads: int, ranks: int) -> dict[str, Any]:
    """Returns the conditions of this process, with the promise that holds under them.

    Call it after `policy.ask_for_determinism`. `threads` counts those of CPU arithmetic, `ranks` the run's processes.
    """
    needed: dict[str, Any] = {
        "promise": CPU,
        "device": arithmetic.device.type,
        "precision": str(arithmetic.precision).removeprefix("torch."),
        "threads": threads,
        "ranks": ranks,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "processor": platform.machine(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    if arithmetic.device.type == "cuda":
        capability = torch.cuda.get_device_capability(arithmetic.device)
        needed |= {
            "promise": GPU,
            "gpu": torch.cuda.get_device_name(arithmetic.device),
            "compute_capability": ".".join(map(str, capability)),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
            "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        }
    return needed
