"""What the two sides of a selection share, for the manifest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.snapshots.leakage.report import SAMPLE, Leakage, actor_overlap, on_both_sides
from app.snapshots.prompts.sides import Moved
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.select import SPLITS, TRAIN, Selection
from app.snapshots.selection.text_keys import numbered
from app.spill.texts import Texts

#: Conversations that changed sides and are listed one by one.
LISTED = 20


def leakage_of(selection: Selection, candidates: Candidates, texts: Texts) -> dict[str, Any]:
    """Of how the sides overlap: `app.snapshots.leakage.report`."""
    held_out = selection.split != TRAIN
    found = Leakage()
    for side, of_side in (("train", ~held_out), ("holdout", held_out)):
        rows = _sampled(np.flatnonzero(of_side), selection, candidates, SAMPLE[side])
        candidate = selection.candidate[rows]
        prompt = candidates.prompt[candidate].astype(np.int64)
        found.add(
            SPLITS[TRAIN] if side == "train" else "holdout",
            list(candidates.prompts.groups(texts, prompt)),
            list(candidates.completions(texts, candidate)),
            [key.tobytes() for key in candidates.prompts.key[prompt]],
        )
    return found.report(
        groups_on_both_sides=on_both_sides(selection.group, held_out),
        conversations_on_both_sides=on_both_sides(selection.unit, held_out),
        actors=actor_overlap(selection.members, held_out, selection.weight),
    )


def conversations_of(
    selection: Selection, candidates: Candidates, leaders: NDArray[np.uint64], moved: Moved
) -> dict[str, Any]:
    """Returns how many conversations have several prompt groups, and which of them changed sides since the snapshot
    before; for the manifest.

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
    for place, (by, before, now) in enumerate(zip(moved.by, moved.before, moved.now, strict=True)):
        entry = entries.setdefault(
            by.tobytes().hex(), {"conversation": by.tobytes().hex(), "from": before, "to": now, "groups": 0, "rows": 0}
        )
        entry["groups"] += 1
        entry["rows"] += int(rows[number[place]])
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
    """Of each prompt the row whose text has the lowest key, of the prompts with the lowest keys: the same ones in
    whatever order they come."""
    of = candidates.prompt[selection.candidate[rows]]
    there = np.zeros(len(candidates.prompts.key), dtype=bool)
    there[of] = True
    drawn = np.zeros(len(there), dtype=bool)
    drawn[_lowest(candidates.prompts.key, np.flatnonzero(there), size)] = True
    rows = rows[drawn[of]]
    candidate = selection.candidate[rows]
    prompt = candidates.prompts.key[candidates.prompt[candidate]]
    said = candidates.said[candidate]
    order = np.lexsort((said[:, 1], said[:, 0], prompt[:, 0], prompt[:, 1]))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (prompt[order[1:]] != prompt[order[:-1]]).any(axis=1)
    one = order[first]
    return rows[one[np.argsort(_rank(prompt[one]), kind="stable")]]


def _lowest(keys: NDArray[np.uint64], prompts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Those of the prompts that say what the `size` lowest keys stand for: some say the same."""
    key = keys[prompts]
    order = np.lexsort((key[:, 0], _rank(key)))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (key[order[1:]] != key[order[:-1]]).any(axis=1)
    return prompts[order[np.cumsum(new) <= size]]


def _rank(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """As `leakage` draws them: by the last eight bytes, the first of which counts most."""
    return keys[:, 1].astype("<u8").view(">u8").astype(np.uint64)
