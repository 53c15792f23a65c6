"""Snapshots: whether one can be made, making it, bringing it to where it is needed; log-probs of its rows."""

import logging
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import artifacts
from app.errors import NotFound, Refused, Unavailable
from app.labels import service as labels
from app.labels.policies import service as policies
from app.labels.quarantine import listing as quarantine
from app.runs.recipe import PAIRED, ObjectiveName, balanced_lambdas
from app.snapshots import store
from app.snapshots.balance import Needs, Tally, reasons_to_refuse
from app.snapshots.build import text_file, write
from app.snapshots.selection import Selection, select

log = logging.getLogger(__name__)

#: Files of log-probs that are brought to a run: rows of older snapshots are for the most part in newer ones, too.
LOG_PROBS_FILES = 16


@dataclass(frozen=True)
class Built:
    """A registered snapshot. The weights are those of its training rows, by class: what a recipe is resolved with."""

    id: UUID
    manifest: dict[str, Any]
    files: dict[str, str]  # path -> sha256
    weight_desirable: float
    weight_undesirable: float


def readiness(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    objective: ObjectiveName,
    *,
    watermark: int,
    since: int,
    shipped_checkpoint_id: UUID | None,
) -> wire.Readiness:
    """Whether the feedback up to `watermark` would make a snapshot that `objective` can learn from; what is missing,
    and what is new after `since`.
    """
    only = _only(rules, shipped_checkpoint_id)
    policy = policies.adopted(session, project).policy
    left_out = quarantine.left_out(session, project, policy, watermark)
    completions = labels.resolved(session, project, policy, watermark=watermark, checkpoint_id=only, left_out=left_out)
    selection = select(completions, project, policy.guards, rules.holdout_share, keep_text=lambda _: 0)
    new_counts = selection.counts
    if since > 0:
        new_counts = labels.counts(
            session, project, policy, watermark=watermark, since=since, checkpoint_id=only, left_out=left_out
        )
    reasons = _reasons(selection, rules, objective)
    lambdas = _lambdas(selection.train)
    return wire.Readiness(
        ready=not reasons,
        counts=selection.counts,
        new_counts=new_counts,
        reasons=reasons,
        lambda_desirable=lambdas[0] if lambdas else None,
        lambda_undesirable=lambdas[1] if lambdas else None,
        pairs=selection.train.pairs,
        watermark=watermark,
    )


def build(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    objective: ObjectiveName,
    *,
    watermark: int,
    seed: int,
    shipped_checkpoint_id: UUID | None,
    folder: Path,
) -> Built:
    """Make the snapshot of the feedback up to `watermark` in `folder`, store its files, then register it.

    `objective` says what the rows must be good for, and changes nothing in them. A snapshot that the project has
    already is registered once. Raises `Refused` with every reason.
    """
    only = _only(rules, shipped_checkpoint_id)
    adopted = policies.adopted(session, project)
    with text_file(near=folder) as texts:
        left_out = quarantine.left_out(session, project, adopted.policy, watermark)
        completions = labels.resolved(
            session, project, adopted.policy, watermark=watermark, checkpoint_id=only, left_out=left_out
        )
        selection = select(completions, project, adopted.policy.guards, rules.holdout_share, keep_text=texts.keep)
        train = selection.train
        lambdas = _lambdas(train)
        reasons = _reasons(selection, rules, objective)
        if reasons:
            raise Refused(
                f"The feedback of {project} makes no dataset to learn from: {'; '.join(reasons)}.",
                code="snapshot_refused",
                reasons=reasons,
            )
        about = {
            "project": project,
            "policy": {"name": adopted.policy.name, "version": adopted.version, "sha256": adopted.sha256},
            "quarantine": dict(sorted(Counter(chain.from_iterable(left_out.values())).items())),
            "watermark": watermark,
            "seed": seed,
            "rules": rules.model_dump(mode="json"),
            "checkpoint_id": None if only is None else str(only),
            "lambda": {"desirable": lambdas[0], "undesirable": lambdas[1]} if lambdas else None,
            "code": f"thumbwheel-server {version('thumbwheel-server')}",
        }
        manifest = write(selection, texts, about, folder)
    files = {path.name: artifacts.put(path).sha256 for path in sorted(folder.iterdir())}
    snapshot_id = store.insert_once(
        session, project, sha256=files["manifest.json"], watermark=watermark, files=files, manifest=manifest
    )
    return Built(snapshot_id, manifest, files, train.weight_desirable, train.weight_undesirable)


def stage(session: Session, snapshot_id: UUID, folder: Path) -> dict[str, Any]:
    """Bring the files of a snapshot into `folder`, verified. The manifest. Raises `NotFound`."""
    snapshot = store.find(session, snapshot_id)
    if snapshot is None:
        raise NotFound(f"There is no snapshot {snapshot_id}.", code="snapshot_unknown")
    for path, sha256 in snapshot.files.items():
        artifacts.fetch(sha256, folder / path)
    return snapshot.manifest


def keep_log_probs(session: Session, snapshot_id: UUID, reference_checkpoint_id: UUID, path: Path) -> None:
    """Store the file of log-probs that the reference gave rows of this snapshot, and of no other. The same file again
    changes nothing. Raises `Unavailable`.
    """
    store.insert_log_probs_once(session, snapshot_id, artifacts.put(path).sha256, reference_checkpoint_id)


def stage_log_probs(session: Session, snapshot_id: UUID, reference_checkpoint_id: UUID, folder: Path) -> None:
    """Bring the newest files of log-probs by this reference into `folder`, verified, as SHA256.safetensors: those about
    this snapshot, and about others of its project, whose rows it may share.

    They save time and are needed by nobody: what cannot be brought is left out.
    """
    for sha256 in store.log_probs_of(session, reference_checkpoint_id, first_of=snapshot_id, limit=LOG_PROBS_FILES):
        try:
            artifacts.fetch(sha256, folder / f"{sha256}.safetensors")
        except (NotFound, Unavailable, OSError) as error:
            log.warning("log-probs %s of reference %s left out: %s", sha256, reference_checkpoint_id, error)


def _reasons(selection: Selection, rules: wire.SnapshotRules, objective: ObjectiveName) -> list[str]:
    """Why nothing should be learnt from these rows."""
    reasons = reasons_to_refuse(selection.train, rules, objective, _needs(objective))
    if reasons and (capped := selection.drops["capped"]):
        reasons.append(
            f"the caps on influence leave {capped} rows no weight, as nearly all are of one actor or of one prompt: "
            "raise guards.influence in the label policy, or collect feedback of others"
        )
    return reasons


def _needs(objective: ObjectiveName) -> Needs:
    if objective in PAIRED:
        return "pairs"
    return "desirable rows" if objective == "sft" else "both classes"


def _only(rules: wire.SnapshotRules, shipped_checkpoint_id: UUID | None) -> UUID | None:
    """The checkpoint whose completions alone are wanted."""
    if rules.events == "all":
        return None
    if shipped_checkpoint_id is None:
        raise ValueError("rules.events is shipped: say which checkpoint that is")
    return shipped_checkpoint_id


def _lambdas(train: Tally) -> tuple[float, float] | None:
    """λ desirable and λ undesirable where both classes have rows."""
    if not (train.weight_desirable > 0 and train.weight_undesirable > 0):
        return None
    return balanced_lambdas(train.weight_desirable, train.weight_undesirable)
