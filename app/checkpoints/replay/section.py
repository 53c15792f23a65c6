"""Sentences on the replay of judged answers, for the model card and the command line. Pure."""

from collections.abc import Mapping
from typing import Any


def sentences(scores: Mapping[str, Any]) -> list[str]:
    """Returns the sentences on a checkpoint's replay; none if no answer was replayed."""
    replay = scores.get("replay") or {}
    answers, held_out = replay.get("answers") or {}, replay.get("held_out") or {}
    if not any(answers.values()):
        return []
    judge = scores.get("judge") or {}
    judged = judge.get("replay")
    of_holdout = (
        f"The prompts of {held_out['disliked']:,} of the {answers['disliked']:,} disliked and of {held_out['liked']:,} "
        f"of the {answers['liked']:,} liked answers are held out from training."
    )
    again = _of_both("repeated word for word", replay["repeated"], "kept word for word", replay["kept"])
    return [*(_judged(judged, judge.get("model")) if judged else ()), f"{again}.", of_holdout]


def section(scores: Mapping[str, Any]) -> list[str]:
    """Returns the blocks of the card's section; none if no answer was replayed."""
    said = sentences(scores)
    return ["## Replay of judged answers", " ".join(said)] if said else []


def _judged(judged: Mapping[str, Any], model: Any) -> list[str]:
    missing = sum(judged["missing"].values())
    without = f" Replies without a judgement: {missing:,}." if missing else ""
    return [
        f"{_of_both('mended', judged['mended'], 'broken', judged['broken'])}, according to the judge {model}.{without}"
    ]


def _of_both(of_disliked: str, disliked: Mapping[str, Any], of_liked: str, liked: Mapping[str, Any]) -> str:
    return (
        f"Of {_of('answers that users disliked', of_disliked, disliked)}; of {_of('that they liked', of_liked, liked)}"
    )


def _of(answers: str, verb: str, figures: Mapping[str, Any]) -> str:
    candidate, shipped = figures["candidate"], figures["shipped"]
    if candidate["value"] is None:
        return f"0 {answers}, none is known to be {verb}"
    of_shipped = (
        f"; the shipped checkpoint's replies: {100 * shipped['value']:.0f} %" if shipped["value"] is not None else ""
    )
    return (
        f"{candidate['groups']:,} {answers}, {_count(candidate):,} {'is' if _count(candidate) == 1 else 'are'} {verb} "
        f"({100 * candidate['low']:.0f} … {100 * candidate['high']:.0f} %{of_shipped})"
    )


def _count(figure: Mapping[str, Any]) -> int:
    return round(figure["value"] * figure["groups"])
