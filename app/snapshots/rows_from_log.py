"""Chooses the rows of a snapshot from the log: labels, texts, groups of prompts, sides, caps."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import PairsFrom, Recipe

from app import malloc
from app.feedback.reading.service import LogTexts
from app.labels import resolving
from app.labels import service as labels
from app.labels.guards.near_duplicates import clusters_of
from app.labels.policies import service as policies
from app.labels.quarantine import service as quarantine
from app.projects import service as projects
from app.snapshots.prompts import service as prompts
from app.snapshots.prompts.sides import Sides
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.labelled_rows import LabelledRows, ranks_of, rows_of
from app.snapshots.selection.on_both_sides import rows_on_both_sides
from app.snapshots.selection.select import select
from app.snapshots.selection.selected_rows import Selection
from app.snapshots.selection.with_texts import gather, keep
from app.spill.texts import SpilledTexts

DEFAULT_PAIRS: PairsFrom = Recipe().pairs


@dataclass(frozen=True)
class Chosen:
    """The rows of a snapshot, and the inputs of the choice.

    decisions  number of decisions on actors in quarantine
    left_out   actors whose signals do not count, with the reasons
    new        rows, before equal ones are collapsed, with new signals
    actors     ids; members of rows are numbered in their order
    split_key  the key of the split
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
    split_key: str
    leaders: NDArray[np.uint64]
    sides: Sides


def choose(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    watermark: int,
    stored: SpilledTexts,
    *,
    store_new: bool,
    log_probs: bool = False,
    checkpoint_id: UUID | None = None,
    since: int = 0,
    pairs: PairsFrom = DEFAULT_PAIRS,
    kept_spans: bool = False,
) -> Chosen:
    """Chooses the rows from the feedback up to `watermark`, and collects their texts in `stored`.

    store_new      stores the groups of new prompts and the comparisons of new edits. That saves time later, and
                   changes no row
    log_probs      reads the log-probs of registered completions, too
    checkpoint_id  if given, only completions of this checkpoint give rows
    since          signals after this position count as new
    kept_spans     compares edits with their originals, to find the parts that they kept
    """
    adopted = policies.adopted(session, project)
    guards = adopted.policy.guards
    if store_new:
        prompts.place(session, project, watermark)
    decisions = quarantine.decisions(session, project)
    only = None if checkpoint_id is None else str(checkpoint_id)
    new: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    with resolving.resolved(session, project, adopted.policy, watermark, keep=store_new, near=stored.near) as resolved:
        left_out, as_of, actors = resolved.left_out, resolved.as_of, resolved.actors
        by_reason = Counter(reason for reasons in left_out.values() for reason in reasons)
        waiting = wire.QuarantineForecast(
            actors=len(left_out), votes=resolved.votes_left_out, reasons=dict(sorted(by_reason.items()))
        )
        ranks = ranks_of(actors)

        def parts() -> Iterator[LabelledRows]:
            for log_part, labelled in resolved.parts():
                new.update(labels.count(log_part, labelled, since=since, checkpoint_id=checkpoint_id).model_dump())
                rows, dropped = rows_of(labelled, ranks, checkpoint_id=only)
                drops.update(dropped)
                yield rows

        rows = keep(parts(), stored.near)
    malloc.give_back()
    source = LogTexts(session, project, watermark, log_probs=log_probs)
    candidates, unusable = gather(rows, source, stored, guards.duplicates, kept_spans=kept_spans)
    drops.update(unusable)
    if guards.duplicates.near is not None:
        rows.columns.put("said", _nearly(candidates, stored, guards.duplicates.near))
    malloc.give_back()
    placed = prompts.placed_up_to(session, project, watermark)
    sides, keys = placed.sides, candidates.prompts.key
    leaders = placed.leaders_of(np.concatenate([keys, sides.strays.prompt]))
    del placed
    leaders, of_strays = leaders[: len(keys)], leaders[len(keys) :]
    deciding = sides.now.of(leaders)
    split_key = projects.split_key(session, project)
    astray = rows_on_both_sides(candidates, stored, sides.astray(split_key, of_strays, rules.holdout_share))
    selection = select(
        candidates,
        drops,
        leaders,
        deciding,
        astray,
        split_key=split_key,
        guards=guards,
        rules=rules,
        as_of=as_of,
        derive_pairs=pairs == "derived",
    )
    counted = wire.ClassCounts.model_validate(new)
    return Chosen(
        adopted, decisions, left_out, waiting, counted, actors, candidates, selection, split_key, leaders, sides
    )


def _nearly(candidates: Candidates, stored: SpilledTexts, rules: wire.guard_rules.NearDuplicates) -> NDArray[np.uint64]:
    """Returns (N, 2) numbers of prompt and completion, equal for texts that are nearly equal."""
    of_prompt = clusters_of(candidates.prompts.groups(stored), rules)
    of_completion = clusters_of(candidates.completions(stored), rules)
    return np.stack([of_prompt[candidates.prompt], of_completion], axis=1).astype(np.uint64)
