"""Answers of a judge in a folder, one file per question, named by the SHA-256 of model, chat and settings.

Several processes may share the folder: a file appears under its name only when it is complete, and two answers to one
question are equally good. Each file has the SHA-256 of its answer; a damaged one counts as missing and is written
again. A folder that cannot be written costs requests, never a judgement.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.errors import Invalid

log = logging.getLogger(__name__)

SUFFIX = ".json"


def key_of(model: str, messages: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """Returns the SHA-256 that names an answer."""
    document = {"model": model, "messages": list(messages), "settings": dict(settings)}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """The answers in a folder, which is made if it does not exist. Raises `Invalid` if it cannot be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Invalid(
                f"The folder of a judge's answers, {folder}, cannot be used: {error.strerror}.", code="invalid_option"
            ) from None

    def get(self, key: str) -> str | None:
        """Returns the answer, or None if there is none or it is damaged."""
        try:
            document = json.loads((self._folder / f"{key}{SUFFIX}").read_bytes())
            answer, digest = document["answer"], document["sha256"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            answer, digest = None, None
        if isinstance(answer, str) and _digest(key, answer) == digest:
            return answer
        log.warning("%s: a damaged answer of a judge is requested again", self._folder / f"{key}{SUFFIX}")
        return None

    def put(self, key: str, answer: str) -> None:
        """Keeps an answer. Nothing is raised if it cannot be kept."""
        content = json.dumps({"answer": answer, "sha256": _digest(key, answer)})
        temporary = None
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._folder, prefix=".", suffix=".part", delete=False) as file:
                temporary = file.name
                file.write(content)
            os.replace(temporary, self._folder / f"{key}{SUFFIX}")
        except OSError as error:
            log.warning("%s: an answer of the judge is not kept: %s", self._folder, error.strerror)
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)

    def count(self) -> int:
        """Returns the number of answers."""
        return sum(not path.name.startswith(".") for path in self._folder.glob(f"*{SUFFIX}"))


def _digest(key: str, answer: str) -> str:
    return hashlib.sha256(f"{key}\n{answer}".encode(errors="replace")).hexdigest()
