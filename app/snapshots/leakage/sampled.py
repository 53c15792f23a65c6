"""Reports what the two sides of a selection share, for the manifest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.snapshots.leakage.report import SAMPLE, Leakage, actor_overlap, on_both_sides
from app.snapshots.prompts.sides import Moved
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.selected_rows import SPLITS, TRAIN, Selection
from app.snapshots.selection.text_keys import numbered
from app.spill.texts import SpilledTexts

#: Conversations that changed sides and are listed one by one.
LISTED = 20


def leakage_of(selection: Selection, candidates: Candidates, texts: SpilledTexts) -> dict[str, Any]:
    """Returns the report of `app.snapshots.leakage.report` on how the sides overlap."""
    held_out = selection.split != TRAIN
    leakage = Leakage()
    for side, of_side in (("train", ~held_out), ("holdout", held_out)):
        rows = _sampled(np.flatnonzero(of_side), selection, candidates, SAMPLE[side])
        candidate = selection.candidate[rows]
        prompt = candidates.prompt[candidate].astype(np.int64)
        leakage.add(
            SPLITS[TRAIN] if side == "train" else "holdout",
            list(candidates.prompts.groups(texts, prompt)),
            list(candidates.completions(texts, candidate)),
            [key.tobytes() for key in candidates.prompts.key[prompt]],
        )
    return leakage.report(
        groups_on_both_sides=on_both_sides(selection.group, held_out),
        conversations_on_both_sides=on_both_sides(selection.unit, held_out),
        actors=actor_overlap(selection.members, held_out, selection.weight),
    )


def conversations_of(
    selection: Selection, candidates: Candidates, leaders: NDArray[np.uint64], moved: Moved
) -> dict[str, Any]:
    """Returns the number of conversations with several prompt groups, and those that changed sides since the previous
    snapshot, for the manifest.

    leaders  (P, 2) keys of the prompts that lead the groups of the candidates' prompts
    """
    unit = selection.unit
    groups = np.unique(np.stack([unit, selection.group], axis=1), axis=0)
    per_unit = np.bincount(groups[:, 0], minlength=int(unit.max(initial=-1)) + 1)
    several = per_unit > 1
    leader = leaders[candidates.prompt[selection.candidate]]
    number = numbered(np.concatenate([moved.leader, leader]))
    rows = np.bincount(number[len(moved.leader) :], minlength=int(number.max(initial=-1)) + 1)
    entries: dict[str, dict[str, Any]] = {}
    for index, (by, before, now) in enumerate(zip(moved.by, moved.before, moved.now, strict=True)):
        entry = entries.setdefault(
            by.tobytes().hex(), {"conversation": by.tobytes().hex(), "from": before, "to": now, "groups": 0, "rows": 0}
        )
        entry["groups"] += 1
        entry["rows"] += int(rows[number[index]])
    listed = sorted(entries.values(), key=lambda entry: (-entry["rows"], entry["conversation"]))
    return {
        "several_groups": int(np.count_nonzero(several)),
        "rows": int(np.count_nonzero(several[unit])),
        "largest_rows": int(np.bincount(unit).max(initial=0)),
        "moved": {
            "conversations": len(listed),
            "groups": len(moved.leader),
            "rows": sum(entry["rows"] for entry in listed),
            "listed": listed[:LISTED],
        },
    }


def _sampled(rows: NDArray[np.int64], selection: Selection, candidates: Candidates, size: int) -> NDArray[np.int64]:
    """Returns the row with the lowest text key of each prompt, for the prompts with the lowest keys. The result does
    not depend on the order of the rows."""
    of = candidates.prompt[selection.candidate[rows]]
    present = np.zeros(len(candidates.prompts.key), dtype=bool)
    present[of] = True
    drawn = np.zeros(len(present), dtype=bool)
    drawn[_lowest(candidates.prompts.key, np.flatnonzero(present), size)] = True
    rows = rows[drawn[of]]
    candidate = selection.candidate[rows]
    prompt = candidates.prompts.key[candidates.prompt[candidate]]
    text = candidates.said[candidate]
    order = np.lexsort((text[:, 1], text[:, 0], prompt[:, 0], prompt[:, 1]))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (prompt[order[1:]] != prompt[order[:-1]]).any(axis=1)
    firsts = order[first]
    return rows[firsts[np.argsort(_rank(prompt[firsts]), kind="stable")]]


def _lowest(keys: NDArray[np.uint64], prompts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Returns the prompts that have one of the `size` lowest keys; prompts with equal text share a key."""
    key = keys[prompts]
    order = np.lexsort((key[:, 0], _rank(key)))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (key[order[1:]] != key[order[:-1]]).any(axis=1)
    return prompts[order[np.cumsum(new) <= size]]


def _rank(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the last eight bytes of the keys as big-endian numbers, the order in which `report` draws prompts."""
    return keys[:, 1].astype("<u8").view(">u8").astype(np.uint64)
