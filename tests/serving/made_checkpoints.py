"""Checkpoints that nobody trained, with probes that tell them apart."""

import json
from pathlib import Path
from uuid import UUID

from app import artifacts
from app.checkpoints import service as checkpoints
from app.checkpoints.probe_file import Probe, ProbePrompt, ProbeReading
from app.database import new_id, transaction

CONFIG = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "use_dora": False, "bias": "none"}


def content(number: int) -> str:
    """Returns the text in place of the weights of the checkpoint."""
    return f"weights {number}"


def probe(number: int) -> Probe:
    """Returns the probe of a checkpoint whose log-probs are half a nat times its number above the base model's."""
    shift = number / 2
    base = ProbeReading(log_probs=[-1.0, -2.5], greedy=" base")
    candidate = ProbeReading(log_probs=[lp + shift for lp in base.log_probs], greedy=f" written {shift:g}")
    prompts = [
        ProbePrompt(text=f"prompt {which}", tokens=[which, 5, 6], candidate=candidate, base=base) for which in range(2)
    ]
    return Probe(precision="float32", greedy_tokens=8, prompts=prompts)


def register(
    project: str, folder: Path, number: int, *, with_probe: bool = True, kind: str = "adapter", **config: object
) -> UUID:
    """Stores the files of the checkpoint and registers it. `folder` must not exist."""
    folder.mkdir()
    weights = "adapter_model.safetensors" if kind == "adapter" else "model.safetensors"
    documents = {weights: content(number), "README.md": "# card", "origin.json": "{}"}
    documents["adapter_config.json" if kind == "adapter" else "config.json"] = json.dumps({**CONFIG, **config})
    if with_probe:
        documents["probe.json"] = probe(number).model_dump_json()
    for name, text in documents.items():
        (folder / name).write_text(text)
    files = {name: artifacts.put(folder / name).sha256 for name in documents}
    manifest = {"kind": kind, "verdict": "passed", "reasons": [], "scores": {}, "training": {"base_fingerprint": "f"}}
    with transaction() as session:
        return checkpoints.register(
            session,
            project=project,
            run_id=new_id(),
            snapshot_id=None,  # none is needed here, and building one takes long
            reference_id=checkpoints.register_base(session, project).id,
            weights_sha256=files[weights],
            files=files,
            manifest=manifest,
        ).id
