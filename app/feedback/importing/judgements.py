"""Turns the words, numbers and named scores of other tools into signals. Pure."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from app.feedback.importing.drafts import Body, Faulty, SaysNothing

UP = frozenset(
    {
        "up", "👍", "thumbs_up", "thumb_up", "thumbsup", "upvote", "like", "liked", "yes", "y", "true", "t", "1", "+1",
        "good", "positive", "helpful", "accepted", "❤", "✅", "✓",
    }
)  # fmt: skip
DOWN = frozenset(
    {
        "down", "👎", "thumbs_down", "thumb_down", "thumbsdown", "downvote", "dislike", "disliked", "no", "n", "false",
        "f", "0", "-1", "bad", "negative", "unhelpful", "not_helpful", "rejected", "❌", "✗",
    }
)  # fmt: skip
#: Words in the name of a score that a user of the product gives, not a grader.
_OF_USERS = re.compile(r"feedback|thumb|vote|like|helpful|satisf|user_?(score|rating)|reaction")
#: Words in the name of a score from 1 to 5: a 1 is the worst of them, not a thumbs up.
_STARS = re.compile(r"star|rating|satisf|csat")
#: Words that answer a question, whose subject alone says whether they are good.
_ANSWERS = frozenset({"yes", "y", "true", "t", "1", "no", "n", "false", "f", "0"})
#: Skin tones, and the selector of the coloured form.
_MODIFIERS = re.compile("[\U0001f3fb-\U0001f3ff\ufe0f]")


@dataclass(frozen=True)
class Rules:
    """The meanings of the values of a file, as far as the user gives them.

    desirable    words of a thumbs up; without `undesirable`, all others are thumbs down
    undesirable  words of a thumbs down; without `desirable`, all others are thumbs up
    scale        the ends of the scale of ratings
    """

    desirable: frozenset[str] = frozenset()
    undesirable: frozenset[str] = frozenset()
    scale: tuple[float, float] | None = None

    @property
    def have_words(self) -> bool:
        return bool(self.desirable or self.undesirable)

    def thumbs(self, value: Any, name: str) -> Body:
        """Returns the signal of a thumb. Raises `Faulty` for a word with no known meaning, and `SaysNothing`."""
        word = word_of(value)
        if self.have_words:
            up = word in self.desirable or (not self.desirable and word not in self.undesirable)
            if not up and self.undesirable and word not in self.undesirable:
                raise SaysNothing(f"{name} is neither a desirable nor an undesirable value")
        else:
            up = word in UP
            if not up and word not in DOWN:
                raise Faulty(
                    f"{name} is {shown(value)}: not known as up or down; say what it means with --desirable, "
                    "or with --map rating=COLUMN if it is a rating"
                )
        return {"kind": "thumbs", "value": "up" if up else "down"}

    def rating(self, value: Any, name: str, scale: tuple[float, float] = (1, 5)) -> Body:
        """Returns the signal of a rating, on the user's scale or the given one."""
        number = number_of(value)
        if number is None:
            raise Faulty(f"{name} is {shown(value)}: must be a number")
        least, most = self.scale or scale
        if not least <= number <= most:
            raise Faulty(f"{name} is {number:g}, beyond a scale of {least:g} to {most:g}: name it with --scale MIN:MAX")
        return {"kind": "rating", "value": number, "minimum": least, "maximum": most}

    def choice(self, name: str, value: str) -> Body:
        """Returns the signal of a label that a person chose: a thumb, an outcome for yes and no, or else a comment."""
        word = word_of(value)
        if not self.have_words and word in _ANSWERS and _OF_USERS.search(_title(name)) is None:
            return {"kind": "outcome", "name": name, "value": word in UP}
        if self.have_words or word in UP | DOWN:
            return self.thumbs(value, name)
        return {"kind": "comment", "text": f"{name}: {value}"}

    def score(self, name: str, value: Any, text: str | None = None) -> Body:
        """Returns the signal of a named score: a thumb, a rating, an outcome, or else a comment that names it.

        text  the label of the score, if it has one beside the number
        """
        title = _title(name)
        of_users = _OF_USERS.search(title) is not None
        if isinstance(text, str) and (self.have_words or word_of(text) in UP | DOWN) and (of_users or value is None):
            return self.thumbs(text, name)
        number = number_of(value)
        if isinstance(value, bool) or (number in (0, 1) and not (_STARS.search(title) or self.scale)):
            if of_users or self.have_words:
                return self.thumbs(value, name)
            return {"kind": "outcome", "name": name, "value": bool(value)}
        if number is not None:
            return self._number(name, title, number, of_users=of_users)
        if not isinstance(value, str) or not value.strip():
            raise Faulty(f"the score {name} has no value")
        if word_of(value) in UP | DOWN and of_users:
            return self.thumbs(value, name)
        return {"kind": "comment", "text": f"{name}: {value}"}

    def _number(self, name: str, title: str, number: float, *, of_users: bool) -> Body:
        if self.scale is not None:
            return self.rating(number, name)
        if number == -1 and of_users:
            return self.thumbs(number, name)
        stars = _STARS.search(title) is not None
        if stars and 1 <= number <= 5:
            return self.rating(number, name)
        if 0 <= number <= 1 and not stars:
            return self.rating(number, name, (0, 1))
        raise Faulty(f"the score {name} is {number:g} on an unknown scale: name it with --scale MIN:MAX")


def _title(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def words_of(values: Iterable[str]) -> frozenset[str]:
    """Returns the words of an option such as `yes,👍,5`."""
    return frozenset(word_of(value) for value in values if value.strip())


def word_of(value: Any) -> str:
    """Returns a value as a word to compare: thumbs-up and Thumbs Up are the same, 1.0 and 1 too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}"
    text = _MODIFIERS.sub("", str(value)).strip().lower().strip(":")
    number = number_of(text)
    if number is not None and not text.startswith("+"):
        return f"{number:g}"
    return re.sub(r"[\s-]+", "_", text) if not text.startswith(("-", "+")) else text


def number_of(value: Any) -> float | None:
    """Returns a finite number, also one that is written as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | str):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if isfinite(number) else None
    return None


def shown(value: Any) -> str:
    """Returns a value as it is shown in a reason, cut if it is long."""
    return json.dumps(value, ensure_ascii=False, default=str)[:60]
