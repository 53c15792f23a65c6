"""Forecasts, builds, registers and stages snapshots, and keeps the log-probs of their rows."""

import logging
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import PAIR_SOURCES, PAIRED, ObjectiveName, PairsFrom

from app import artifacts, malloc
from app.durable import folder_atomically, sha256_of
from app.errors import Conflict, NotFound, Refused, Unavailable
from app.projects import service as projects
from app.snapshots import store
from app.snapshots.balance.enough import Needs, nothing_left, refusals
from app.snapshots.balance.plan import plan, tally_of
from app.snapshots.balance.spread import holdout_of, spread_of
from app.snapshots.balance.writers import ages_of, writers_of
from app.snapshots.built import Built as Built
from app.snapshots.built import Forecast
from app.snapshots.files.parquet import CARD, MANIFEST, MANIFEST_FORMAT, ORIGIN, PAIRS
from app.snapshots.files.write import write_about, write_rows
from app.snapshots.leakage.sampled import conversations_of, leakage_of
from app.snapshots.rows_from_log import DEFAULT_PAIRS, choose
from app.snapshots.selection.cells import cells_of
from app.snapshots.selection.pairs import Source
from app.snapshots.tables import Snapshot
from app.spill.texts import texts

log = logging.getLogger(__name__)

#: Files of log-probs that are staged for a run: most rows of older snapshots are also in newer ones.
LOG_PROBS_FILES = 16


class ErasedMeanwhile(Conflict):
    """Data of the log was erased while the log was read. The caller can read it again."""


def forecast(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    *,
    watermark: int,
    since: int,
    shipped_checkpoint_id: UUID | None,
    store_new: bool,
) -> Forecast:
    """Returns the forecast for the feedback up to `watermark`; signals after `since` are new. Reads the whole log. For
    `store_new` see `rows_from_log.choose`.
    """
    only = _only(rules, shipped_checkpoint_id)
    with texts() as stored:
        chosen = choose(
            session, project, rules, watermark, stored,
            store_new=store_new, checkpoint_id=only, since=since, pairs="derived",
        )  # fmt: skip
        selection = chosen.selection
        return Forecast(
            counts=selection.counts,
            new=selection.counts if since <= 0 else chosen.new,
            cells=cells_of(selection, chosen.candidates),
            pairs=selection.pairs_of("train").counts(),
            capped=selection.drops["capped"],
            holdout=holdout_of(selection, chosen.candidates),
            spread=spread_of(selection, chosen.candidates),
            ages=ages_of(selection, chosen.candidates),
            quarantine=chosen.quarantine,
        )


def refusals_of(
    planned: wire.BalancePlan, capped: int, rules: wire.SnapshotRules, objective: ObjectiveName
) -> list[wire.Refusal]:
    """Returns the reasons against training on these rows, each with a remedy."""
    reasons = refusals(tally_of(planned), rules, objective, needs(objective))
    return [*reasons, nothing_left(capped)] if reasons and capped else reasons


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
    pairs: PairsFrom = DEFAULT_PAIRS,
    kept_spans: bool = False,
) -> Built:
    """Makes the snapshot of the feedback up to `watermark` in `folder`, stores its files, then registers it.

    `objective` and `pairs` set the requirements that the rows must meet and do not change the rows, except that `pairs`
    decides whether pairs are derived from labels. `kept_spans` adds a column with the parts of undesirable completions
    that edits kept. An identical snapshot of the project is registered only
    once. Raises `Refused` with every reason, or `ErasedMeanwhile`.
    """
    only = _only(rules, shipped_checkpoint_id)
    erasures = projects.erasures(session, project)
    with texts(near=folder) as stored:
        try:
            chosen = choose(
                session, project, rules, watermark, stored,
                store_new=True, log_probs=True, checkpoint_id=only, pairs=pairs, kept_spans=kept_spans,
            )  # fmt: skip
        except KeyError as error:  # a text was erased after the log was read
            if projects.erasures(session, project) != erasures:
                raise _erased_meanwhile(project) from error
            raise
        adopted, candidates, selection = chosen.adopted, chosen.candidates, chosen.selection
        usable = usable_pairs(selection.pairs_of("train").counts(), pairs)
        cells = cells_of(selection, candidates)
        planned = plan(cells, pairs=usable)
        refused = refusals_of(planned, selection.drops["capped"], rules, objective)
        reasons = [refusal.reason for refusal in refused]
        leakage = leakage_of(selection, candidates, stored)
        if groups := leakage["groups_on_both_sides"]:
            reasons.append(f"{groups} groups of prompts are on both sides, which is a bug: please report it")
        if both := leakage["conversations_on_both_sides"]:
            reasons.append(f"{both} conversations are on both sides, which is a bug: please report it")
        if reasons:
            raise Refused(
                f"The feedback of {project} makes no dataset to learn from: {'; '.join(reasons)}.",
                code="snapshot_refused",
                reasons=reasons,
            )
        about = {
            "format": MANIFEST_FORMAT,
            "split_key": chosen.split_key,
            "policy": {"name": adopted.policy.name, "version": adopted.version, "sha256": adopted.sha256},
            "quarantine": dict(sorted(Counter(chain.from_iterable(chosen.left_out.values())).items())),
            "quarantine_decisions": chosen.decisions,
            "watermark": watermark,
            "seed": seed,
            "rules": rules.model_dump(mode="json"),
            "checkpoint_id": None if only is None else str(only),
            "lambda": lambdas_of(planned),
            "plan": planned.model_dump(),
            "leakage": leakage,
            "conversations": conversations_of(
                selection, candidates, chosen.leaders, chosen.sides.moved(chosen.split_key, rules.holdout_share)
            ),
        }
        origin = {
            "project": project,
            "code": f"thumbwheel-server {version('thumbwheel-server')}",
            "writers": writers_of(cells, shipped_checkpoint_id, ages_of(selection, candidates)).model_dump(mode="json"),
        }
        selection = selection.without_members()
        del chosen
        malloc.give_back()
        with folder_atomically(folder) as aside:
            manifest = about | write_rows(selection, candidates, stored, aside)
            write_about(manifest, origin, aside)
    snapshot_id = register(session, project, watermark, manifest, folder, erasures=erasures)
    files = require(session, snapshot_id).files
    train = selection.train
    return Built(snapshot_id, manifest, origin, files, train.weight_desirable, train.weight_undesirable)


def register(
    session: Session,
    project: str,
    watermark: int,
    manifest: Mapping[str, Any],
    folder: Path,
    *,
    erasures: int | None = None,
) -> UUID:
    """Stores the files in `folder`, then registers the snapshot that they form. Returns the id, which is that of the
    existing snapshot if the project has one with this manifest: that one keeps its own origin and card.

    erasures  the number of the project's erasures when the log was read. Raises `ErasedMeanwhile` if there are more
              by now, and deletes the stored files again, so that the store keeps no erased data.
    """
    there = store.has(session, project, sha256_of(folder / MANIFEST))
    files = {
        path.name: artifacts.put(path).sha256
        for path in sorted(folder.iterdir())
        if not (there and path.name in (ORIGIN, CARD))
    }
    if erasures is not None:
        projects.lock(session, project)
        if projects.erasures(session, project) != erasures:
            _take_back(session, files)
            raise _erased_meanwhile(project)
        if projects.split_key(session, project) != manifest["split_key"]:
            raise Conflict(
                f"The split key of {project} was changed while its snapshot was made: start the run again.",
                code="split_key_changed",
            )
    return store.insert_once(
        session, project, sha256=files[MANIFEST], watermark=watermark, files=files, manifest=dict(manifest)
    )


def _erased_meanwhile(project: str) -> ErasedMeanwhile:
    return ErasedMeanwhile(
        f"Feedback of {project} was erased or expired while its snapshot was made.", code="erased_meanwhile"
    )


def _take_back(session: Session, files: Mapping[str, str]) -> None:
    """Deletes the just stored files that no snapshot has, except for pairs: they are numbers without text and often
    equal in other projects, one of which may be about to register them."""
    written = {sha256 for path, sha256 in files.items() if path != PAIRS}
    for sha256 in sorted(written - store.named(session, written, kept=(MANIFEST, ORIGIN, CARD))):
        artifacts.delete(sha256)


def exist(session: Session, project: str) -> bool:
    """Returns whether the project has a snapshot."""
    return store.exist(session, project)


def require(session: Session, snapshot_id: UUID) -> Snapshot:
    """Returns the snapshot. Raises `NotFound`."""
    snapshot = store.find(session, snapshot_id)
    if snapshot is None:
        raise NotFound(f"There is no snapshot {snapshot_id}.", code="snapshot_unknown")
    return snapshot


def usable_pairs(counts: Mapping[Source, int], pairs: PairsFrom) -> int:
    """Returns the number of pairs that a recipe with these `pairs` learns from."""
    return sum(count for source, count in counts.items() if source in PAIR_SOURCES[pairs])


def lambdas_of(planned: wire.BalancePlan) -> dict[str, float] | None:
    """Returns λ desirable and λ undesirable, or None unless both classes have rows."""
    if planned.lambda_desirable is None or planned.lambda_undesirable is None:
        return None
    return {"desirable": planned.lambda_desirable, "undesirable": planned.lambda_undesirable}


def stage(session: Session, snapshot_id: UUID, folder: Path) -> dict[str, Any]:
    """Fetches the files of a snapshot into `folder` and verifies them. Returns the manifest. Raises `NotFound`."""
    snapshot = require(session, snapshot_id)
    for path, sha256 in snapshot.files.items():
        artifacts.fetch(sha256, folder / path)
    return snapshot.manifest


def keep_log_probs(session: Session, snapshot_id: UUID, reference_checkpoint_id: UUID, path: Path) -> None:
    """Stores a file of the log-probs that the reference gave rows of this snapshot, and of no other. Storing the same
    file again changes nothing. Raises `Unavailable`.
    """
    store.insert_log_probs_once(session, snapshot_id, artifacts.put(path).sha256, reference_checkpoint_id)


def stage_log_probs(session: Session, snapshot_id: UUID, reference_checkpoint_id: UUID, folder: Path) -> None:
    """Fetches the newest files of log-probs of this reference into `folder` as SHA256.safetensors and verifies them:
    those about this snapshot first, then others of its project, whose rows it may share.

    They only save time: a file that cannot be fetched is left out.
    """
    for sha256 in store.log_probs_of(session, reference_checkpoint_id, first_of=snapshot_id, limit=LOG_PROBS_FILES):
        try:
            artifacts.fetch(sha256, folder / f"{sha256}.safetensors")
        except (NotFound, Unavailable, OSError) as error:
            log.warning("log-probs %s of reference %s left out: %s", sha256, reference_checkpoint_id, error)


def needs(objective: ObjectiveName) -> Needs:
    """Returns the rows that an objective learns from."""
    if objective in PAIRED:
        return "pairs"
    return "desirable rows" if objective == "sft" else "both classes"


def _only(rules: wire.SnapshotRules, shipped_checkpoint_id: UUID | None) -> UUID | None:
    """Returns the only checkpoint whose completions give rows, or None for all."""
    if rules.events == "all":
        return None
    if shipped_checkpoint_id is None:
        raise ValueError("rules.events is shipped: say which checkpoint that is")
    return shipped_checkpoint_id
