"""Snapshots: what one would be made of, making it, bringing it to where it is needed; log-probs of its rows."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import artifacts, memory
from app.durable import folder_atomically
from app.errors import Conflict, NotFound, Refused, Unavailable
from app.labels import resolving
from app.labels import service as labels
from app.labels.guards import duplicates
from app.labels.policies import service as policies
from app.labels.quarantine import service as quarantine
from app.projects import service as projects
from app.runs.recipe import PAIR_SOURCES, PAIRED, ObjectiveName, PairsFrom, Recipe
from app.snapshots import store
from app.snapshots.balance.enough import Needs, Refusal, nothing_left, refusals, too_little_held_out
from app.snapshots.balance.plan import Cell, Plan, plan
from app.snapshots.balance.spread import Spread, holdout_of, spread_of
from app.snapshots.files.parquet import CARD, MANIFEST, PAIRS
from app.snapshots.files.write import write_about, write_rows
from app.snapshots.leakage.sampled import conversations_of, leakage_of
from app.snapshots.prompts import service as prompts
from app.snapshots.prompts.sides import Sides
from app.snapshots.selection.astray import astray_of
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.labelled_rows import Rows, ranks_of, rows_of
from app.snapshots.selection.pairs import Source
from app.snapshots.selection.select import Selection, cells_of, select
from app.snapshots.selection.with_texts import gather, keep
from app.snapshots.tables import Snapshot
from app.spill.texts import Texts, texts

log = logging.getLogger(__name__)

#: Files of log-probs that are brought to a run: rows of older snapshots are for the most part in newer ones, too.
LOG_PROBS_FILES = 16


DEFAULT_PAIRS: PairsFrom = Recipe().pairs


class ErasedMeanwhile(Conflict):
    """What was read of the log is void; reading it again is not."""


@dataclass(frozen=True)
class Built:
    """A registered snapshot. The weights are those of its training rows, by class: what a recipe is resolved with."""

    id: UUID
    manifest: dict[str, Any]
    files: dict[str, str]  # path -> sha256
    weight_desirable: float
    weight_undesirable: float


@dataclass(frozen=True)
class Forecast:
    """What a snapshot would be made of.

    new         rows, before equal ones are collapsed, that have something new
    pairs       training pairs by their source
    holdout     the held-out rows
    spread      how the training rows spread over prompts and actors
    quarantine  votes that do not count
    """

    counts: wire.ClassCounts
    new: wire.ClassCounts
    cells: list[Cell]
    pairs: dict[Source, int]
    capped: int
    holdout: wire.HoldoutForecast
    spread: Spread
    quarantine: wire.QuarantineForecast


def forecast(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    *,
    watermark: int,
    since: int,
    shipped_checkpoint_id: UUID | None,
) -> Forecast:
    """What the feedback up to `watermark` would make; what is new after `since`. It reads the whole log."""
    only = _only(rules, shipped_checkpoint_id)
    with texts() as kept:
        found = choose(session, project, rules, watermark, kept, checkpoint_id=only, since=since, pairs="derived")
        selection = found.selection
        return Forecast(
            counts=selection.counts,
            new=selection.counts if since <= 0 else found.new,
            cells=cells_of(selection, found.candidates),
            pairs=selection.pairs_of("train").counts(),
            capped=selection.drops["capped"],
            holdout=holdout_of(selection, found.candidates),
            spread=spread_of(selection, found.candidates),
            quarantine=found.quarantine,
        )


def refusals_of(planned: Plan, capped: int, rules: wire.SnapshotRules, objective: ObjectiveName) -> list[Refusal]:
    """Why nothing should be learnt from these rows; each says what would help."""
    found = refusals(planned.tally, rules, objective, _needs(objective))
    return [*found, nothing_left(capped)] if found and capped else found


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
    gates: wire.Gates | None = None,
) -> Built:
    """Makes the snapshot of the feedback up to `watermark` in `folder`, stores its files, then registers it.

    `objective`, `pairs` and `gates` say what the rows must be good for, and change nothing in them; pairs are derived
    from labels where `pairs` says so. A snapshot that the project has already is registered once. Raises `Refused` with
    every reason, or `ErasedMeanwhile`.
    """
    only = _only(rules, shipped_checkpoint_id)
    erasures = projects.erasures(session, project)
    with texts(near=folder) as kept:
        try:
            found = choose(session, project, rules, watermark, kept, checkpoint_id=only, pairs=pairs)
        except KeyError as error:  # a text that was there when the log was read
            if projects.erasures(session, project) != erasures:
                raise _erased_meanwhile(project) from error
            raise
        adopted, candidates, selection = found.adopted, found.candidates, found.selection
        usable = usable_pairs(selection.pairs_of("train").counts(), pairs)
        planned = plan(cells_of(selection, candidates), pairs=usable)
        refused = refusals_of(planned, selection.drops["capped"], rules, objective)
        if gates is not None:
            refused += too_little_held_out(holdout_of(selection, candidates), gates, rules.holdout_share)
        reasons = [refusal.reason for refusal in refused]
        leakage = leakage_of(selection, candidates, kept)
        if groups := leakage["groups_on_both_sides"]:
            reasons.append(f"{groups} groups of prompts are on both sides, which is an error of ours: report it")
        if both := leakage["conversations_on_both_sides"]:
            reasons.append(f"{both} conversations are on both sides, which is an error of ours: report it")
        if reasons:
            raise Refused(
                f"The feedback of {project} makes no dataset to learn from: {'; '.join(reasons)}.",
                code="snapshot_refused",
                reasons=reasons,
            )
        about = {
            "project": project,
            "policy": {"name": adopted.policy.name, "version": adopted.version, "sha256": adopted.sha256},
            "quarantine": dict(sorted(Counter(chain.from_iterable(found.left_out.values())).items())),
            "quarantine_decisions": found.decisions,
            "watermark": watermark,
            "seed": seed,
            "rules": rules.model_dump(mode="json"),
            "checkpoint_id": None if only is None else str(only),
            "lambda": lambdas_of(planned),
            "plan": planned.document(),
            "leakage": leakage,
            "conversations": conversations_of(
                selection, candidates, found.leaders, found.sides.moved(project, rules.holdout_share)
            ),
            "code": f"thumbwheel-server {version('thumbwheel-server')}",
        }
        selection = selection.without_members()
        del found
        memory.give_back()
        with folder_atomically(folder) as aside:
            manifest = about | write_rows(selection, candidates, kept, aside)
            write_about(manifest, aside)
    snapshot_id = register(session, project, watermark, manifest, folder, erasures=erasures)
    files = require(session, snapshot_id).files
    train = selection.train
    return Built(snapshot_id, manifest, files, train.weight_desirable, train.weight_undesirable)


def register(
    session: Session,
    project: str,
    watermark: int,
    manifest: Mapping[str, Any],
    folder: Path,
    *,
    erasures: int | None = None,
) -> UUID:
    """Store the files in `folder`, then register the snapshot that they are; one that is there already stays.

    erasures  how many the project had when the log was read. Raises `ErasedMeanwhile` where it has another one: then
              the store has nothing of what was erased.
    """
    files = {path.name: artifacts.put(path).sha256 for path in sorted(folder.iterdir())}
    if erasures is not None:
        projects.lock(session, project)
        if projects.erasures(session, project) != erasures:
            _take_back(session, files)
            raise _erased_meanwhile(project)
    return store.insert_once(
        session, project, sha256=files["manifest.json"], watermark=watermark, files=files, manifest=dict(manifest)
    )


def _erased_meanwhile(project: str) -> ErasedMeanwhile:
    return ErasedMeanwhile(
        f"Somebody was erased from the feedback of {project} while its snapshot was made.", code="erased_meanwhile"
    )


def _take_back(session: Session, files: Mapping[str, str]) -> None:
    """Delete those of the files, just stored, that no snapshot has. But for pairs: they are numbers and nobody's words,
    and often the same in other projects, one of which may be about to name them."""
    written = {sha256 for path, sha256 in files.items() if path != PAIRS}
    for sha256 in sorted(written - store.named(session, written, kept=(MANIFEST, CARD))):
        artifacts.delete(sha256)


def require(session: Session, snapshot_id: UUID) -> Snapshot:
    """Raises `NotFound`."""
    snapshot = store.find(session, snapshot_id)
    if snapshot is None:
        raise NotFound(f"There is no snapshot {snapshot_id}.", code="snapshot_unknown")
    return snapshot


def usable_pairs(counts: Mapping[Source, int], pairs: PairsFrom) -> int:
    """Returns the number of pairs that a recipe with these `pairs` learns from."""
    return sum(count for source, count in counts.items() if source in PAIR_SOURCES[pairs])


def lambdas_of(planned: Plan) -> dict[str, float] | None:
    """λ desirable and λ undesirable, where both classes have rows."""
    if planned.lambda_desirable is None or planned.lambda_undesirable is None:
        return None
    return {"desirable": planned.lambda_desirable, "undesirable": planned.lambda_undesirable}


@dataclass(frozen=True)
class Chosen:
    """The rows of a snapshot, and what they rest on.

    decisions  how many on actors in quarantine were taken
    left_out   actors whose signals do not count, with the reasons
    new        of the rows, before equal ones are collapsed, those of which something new was said
    actors     ids; members of rows are numbered in their order
    leaders    (P, 2) keys of the prompts that lead the groups of the candidates' prompts
    """

    adopted: wire.StoredLabelPolicy
    decisions: int
    left_out: Mapping[str, tuple[str, ...]]
    quarantine: wire.QuarantineForecast
    new: wire.ClassCounts
    actors: pl.Series
    candidates: Candidates
    selection: Selection
    leaders: NDArray[np.uint64]
    sides: Sides


def choose(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    watermark: int,
    kept: Texts,
    *,
    checkpoint_id: UUID | None = None,
    since: int = 0,
    pairs: PairsFrom = DEFAULT_PAIRS,
) -> Chosen:
    """The rows of the feedback up to `watermark`, their texts in `kept`; only completions of this checkpoint. New is
    what was said after `since`."""
    adopted = policies.adopted(session, project)
    guards = adopted.policy.guards
    prompts.place(session, project, watermark)
    decisions = quarantine.decisions(session, project)
    only = None if checkpoint_id is None else str(checkpoint_id)
    new: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    with resolving.resolved(session, project, adopted.policy, watermark, near=kept.near) as resolved:
        left_out, as_of, actors = resolved.left_out, resolved.as_of, resolved.actors
        rules_found = Counter(reason for reasons in left_out.values() for reason in reasons)
        waiting = wire.QuarantineForecast(
            actors=len(left_out), votes=resolved.votes_left_out, reasons=dict(sorted(rules_found.items()))
        )
        ranks = ranks_of(actors)

        def parts() -> Iterator[Rows]:
            for log_part, labelled in resolved.parts():
                new.update(labels.count(log_part, labelled, since=since, checkpoint_id=checkpoint_id).model_dump())
                rows, dropped = rows_of(labelled, ranks, checkpoint_id=only)
                drops.update(dropped)
                yield rows

        rows = keep(parts(), kept.near)
    memory.give_back()
    candidates, drops["tool_calls"] = gather(
        rows, labels.LogTexts(session, project, watermark), kept, guards.duplicates
    )
    if guards.duplicates.near is not None:
        rows.columns.put("said", _nearly(candidates, kept, guards.duplicates.near))
    memory.give_back()
    sides = prompts.sides_of(session, project, watermark)
    keys = candidates.prompts.key
    leaders = prompts.leaders_of(session, project, np.concatenate([keys, sides.strays.prompt]))
    leaders, of_strays = leaders[: len(keys)], leaders[len(keys) :]
    deciding = sides.now.of(leaders)
    astray = astray_of(candidates, kept, sides.astray(project, of_strays, rules.holdout_share))
    selection = select(
        candidates,
        drops,
        leaders,
        deciding,
        astray,
        project=project,
        guards=guards,
        rules=rules,
        as_of=as_of,
        derive_pairs=pairs == "derived",
    )
    counted = wire.ClassCounts.model_validate(new)
    return Chosen(adopted, decisions, left_out, waiting, counted, actors, candidates, selection, leaders, sides)


def _nearly(candidates: Candidates, kept: Texts, rules: wire.guard_rules.NearDuplicates) -> NDArray[np.uint64]:
    """What says nearly the same: (N, 2) numbers of prompt and completion."""
    of_prompt = duplicates.near(candidates.prompts.groups(kept), rules)
    of_completion = duplicates.near(candidates.completions(kept), rules)
    return np.stack([of_prompt[candidates.prompt], of_completion], axis=1).astype(np.uint64)


def stage(session: Session, snapshot_id: UUID, folder: Path) -> dict[str, Any]:
    """Bring the files of a snapshot into `folder`, verified. The manifest. Raises `NotFound`."""
    snapshot = require(session, snapshot_id)
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
