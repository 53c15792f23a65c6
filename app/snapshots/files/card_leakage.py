"""Writes the section of a dataset's card about what training and held-out rows share. Pure."""

from collections.abc import Mapping
from typing import Any

from app.snapshots.files.card_words import SIDES

#: The card warns above this share of held-out prompts that share a run of words with training.
_MANY = 0.05
#: The card warns above this share of held-out rows with the answer of a training row.
_MANY_ANSWERS = 0.2


def leakage_lines(report: Mapping[str, Any] | None, answers: Mapping[str, int] | None) -> list[str]:
    """Returns the section; none for a snapshot without a report.

    report   the manifest's `leakage`
    answers  its `equal_answers`: the held-out rows, and those of them with the answer of a training row
    """
    if report is None:
        return []
    actors, sample = report["actors"], report["sample"]
    lines = [
        "",
        "## Overlap of the sides",
        "",
        f"- Groups of prompts: {report['groups_on_both_sides']}",
        *_same_texts(report, answers),
        (
            f"- Actors: {actors['on_both_sides']} of {actors['holdout']} with held-out rows have training rows, too: "
            f"{actors['share_of_training_weight']:.0%} of the training weight"
        ),
    ]
    for side, name in SIDES.items():
        words = report[side]
        if not words["longest_shared_words"]:
            lines.append(f"- {name}: no shared words")
            continue
        lines.append(
            f"- {name}: at most {words['longest_shared_words']} words in a row; "
            f"{words['holdout_overlapping']} held-out ones share {words['overlapping_from_words']} or more"
        )
    lines += [
        "",
        (
            f"The sample has {sample['holdout']} held-out and {sample['train']} training prompts with a "
            f"completion each; {sample['characters']} characters of each text were compared."
        ),
    ]
    overlapping = report["prompts"]["holdout_overlapping"]
    if overlapping > _MANY * sample["holdout"]:
        lines += [
            "",
            (
                f"{overlapping / sample['holdout']:.0%} of these held-out prompts share long runs of words with "
                "training: the evaluation may flatter. A template that all prompts share is the harmless cause."
            ),
        ]
    return lines


def _same_texts(report: Mapping[str, Any], answers: Mapping[str, int] | None) -> list[str]:
    """Returns the lines about conversations, contained prompts and equal answers, with warnings if there are many."""
    lines = []
    if "conversations_on_both_sides" in report:
        lines.append(f"- Conversations: {report['conversations_on_both_sides']}")
    if prompts := report.get("contained"):
        lines.append(
            f"- Held-out prompts contained in a training prompt: {prompts['contained']} of "
            f"{prompts['looked_for']} that are long enough to be searched for"
        )
        if prompts["contained"] > _MANY * prompts["looked_for"]:
            lines.append(
                "- **Warning**: training has seen these prompts. Send `conversation_id` with chats whose turns do not "
                "begin with each other."
            )
    if answers is not None:
        lines.append(f"- Held-out rows with the answer of a training row: {answers['equal']} of {answers['holdout']}")
        if answers["equal"] > _MANY_ANSWERS * answers["holdout"]:
            lines.append(
                "- **Warning**: training has seen many of the held-out answers: the evaluation shows whether answers "
                "are remembered, not whether prompts are understood."
            )
    return lines
