"""Finds personal data and secrets in the documents of feedback, and puts placeholders in their place. Pure, except that
Presidio's kinds load a library.

Every text of a body is read, wherever it stands: prompts, completions, messages with their parts, names, tool calls and
reasoning, edits, comments, the other answer of a preference, metadata with its keys, and long numbers. Ids, which
other rows refer to, and media in base64 stay as they are.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from app.errors import pointer_part
from app.privacy.redaction.detection import find, normalised
from app.privacy.redaction.findings import PRESIDIO_KINDS

#: A placeholder stays as it is, so that a text that was masked before does not change.
PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]*_[0-9]{1,3}\]")
#: Once a value is replaced, its neighbours may be found that were a part of something longer before. The number is
#: bounded since each round takes as long as the text.
MOST_ROUNDS = 8
#: Integers below cannot be personal data of any kind.
SMALL = 10**6
MEDIA = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.+=-]+)*;base64,[A-Za-z0-9+/=_-]*")
BASE64 = re.compile(r"[A-Za-z0-9+/=_-]{256,}")
#: Stands between texts that are looked through together: no value goes on behind it, and none ends because of it.
BETWEEN = "\n\x1e\n"
#: Fields with ids and fixed words.
OF_MESSAGE = frozenset({"role", "tool_call_id"})
OF_SIGNAL = frozenset({"kind", "rejected_completion_id"})


class Redactor:
    """Reads documents. `found`: the JSON pointer of each text with a finding, and the kind of the finding.

    placeholder  makes the placeholder of a kind and a normalised value; None: texts are only looked through
    """

    def __init__(self, kinds: frozenset[str], placeholder: Callable[[str, str], str] | None) -> None:
        self._kinds = kinds
        self._placeholder = placeholder
        self._collected: list[str] | None = None
        self._with_findings: Iterator[bool] = iter(())
        self.found: list[tuple[str, str]] = []

    def event(self, document: dict[str, Any]) -> None:
        """Masks the texts of an event in place."""
        self._read(self._event, document)

    def completion(self, document: dict[str, Any]) -> None:
        """Masks the texts of a registered completion in place. The tokens of a text that was masked are left out, since
        they can be turned into the text."""
        self._read(self._completion, document)

    def text(self, text: str) -> str:
        """Returns a single text, masked."""
        document = {"text": text}
        self._read(lambda read: read.update(text=self._text(read["text"], "/text")), document)
        return document["text"]

    def _read(self, through: Callable[[dict[str, Any]], None], document: dict[str, Any]) -> None:
        """Goes through a document twice: collects its texts, which are looked through at once, and then masks those
        with findings. Most documents have none, and a look costs as much for a short text as for all of them.
        """
        texts: list[str] = []
        self._collected = texts
        through(document)
        self._collected = None
        alone = not self._kinds.isdisjoint(PRESIDIO_KINDS)  # its models read a text as a whole
        findings = [] if alone else find(BETWEEN.join(texts), self._kinds)
        if findings or alone:
            ends = list(accumulate(len(text) + len(BETWEEN) for text in texts))
            found = {bisect_right(ends, place) for _, *places in findings for place in places}
            self._with_findings = iter([alone or number in found for number in range(len(texts))])
            through(document)

    def _event(self, document: dict[str, Any]) -> None:
        if document.get("prompt") is not None:
            document["prompt"] = self._prompt(document["prompt"])
            document["completion"] = self._answer(document["completion"])
        signal = document["signal"]
        for name, value in signal.items():
            if name not in OF_SIGNAL:
                signal[name] = self._value(value, f"/signal/{name}")
        if document.get("metadata"):
            document["metadata"] = self._value(document["metadata"], "/metadata")

    def _completion(self, document: dict[str, Any]) -> None:
        document["prompt"] = self._prompt(document["prompt"])
        before = len(self.found)
        document["completion"] = self._answer(document["completion"])
        if len(self.found) > before and self._placeholder is not None:
            document["token_ids"] = document["log_probs"] = None
        for name in ("sampling", "metadata"):
            if document.get(name):
                document[name] = self._value(document[name], f"/{name}")

    def _prompt(self, prompt: Any) -> Any:
        if isinstance(prompt, str):
            return self._text(prompt, "/prompt")
        if isinstance(prompt, list):
            return self._messages(prompt, "/prompt")
        masked = {**prompt, "messages": self._messages(prompt["messages"], "/prompt/messages")}
        if prompt.get("tools"):
            masked["tools"] = self._value(prompt["tools"], "/prompt/tools")
        return masked

    def _answer(self, completion: Any) -> Any:
        if isinstance(completion, str):
            return self._text(completion, "/completion")
        return self._message(completion, "/completion")

    def _messages(self, messages: list[Any], at: str) -> list[Any]:
        return [self._message(message, f"{at}/{place}") for place, message in enumerate(messages)]

    def _message(self, message: dict[str, Any], at: str) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for name, value in message.items():
            inner = f"{at}/{name}"
            if name in OF_MESSAGE or value is None:
                masked[name] = value
            elif name == "content" and isinstance(value, list):
                masked[name] = [self._part(part, f"{inner}/{place}") for place, part in enumerate(value)]
            elif name == "tool_calls":
                masked[name] = [self._call(call, f"{inner}/{place}") for place, call in enumerate(value)]
            else:
                masked[name] = self._value(value, inner)
        return masked

    def _part(self, part: dict[str, Any], at: str) -> dict[str, Any]:
        media = part["type"] != "text"
        return {
            name: value if name == "type" else self._value(value, f"{at}/{pointer_part(name)}", media=media)
            for name, value in part.items()
        }

    def _call(self, call: dict[str, Any], at: str) -> dict[str, Any]:
        function = call["function"]
        arguments = function["arguments"]
        inner = f"{at}/function"
        masked = {
            "name": self._text(function["name"], f"{inner}/name"),
            "arguments": self._arguments(arguments, f"{inner}/arguments")
            if isinstance(arguments, str)
            else self._value(arguments, f"{inner}/arguments"),
        }
        return {**call, "function": masked}

    def _arguments(self, arguments: str, at: str) -> str:
        """Masks the arguments of a call where they are JSON: a placeholder in place of a number would break it."""
        try:
            decoded = json.loads(arguments)
        except (ValueError, RecursionError):
            return self._text(arguments, at)
        before = len(self.found)
        masked = self._value(decoded, at)
        return arguments if len(self.found) == before else json.dumps(masked, ensure_ascii=False)

    def _value(self, value: Any, at: str, *, media: bool = False) -> Any:
        if isinstance(value, str):
            if media and (MEDIA.fullmatch(value) or BASE64.fullmatch(value)):
                return value
            return self._text(value, at)
        if isinstance(value, dict):
            return self._object(value, at, media=media)
        if isinstance(value, list):
            return [self._value(item, f"{at}/{place}", media=media) for place, item in enumerate(value)]
        if isinstance(value, int) and not -SMALL < value < SMALL:
            masked = self._text(str(value), at)
            return value if masked == str(value) else masked
        return value

    def _object(self, value: dict[str, Any], at: str, *, media: bool) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for name, item in value.items():
            own = self._text(name, at)
            while own in masked:  # two keys may have the same placeholder
                own += "_"
            masked[own] = self._value(item, f"{at}/{pointer_part(self._shown(name, own))}", media=media)
        return masked

    def _shown(self, name: str, masked: str) -> str:
        """Returns a key as pointers show it."""
        hidden = self._collected is None and self._placeholder is None and self._segments_with_findings(name)
        return "…" if hidden else masked

    def _text(self, text: str, at: str) -> str:
        if self._collected is not None:
            self._collected.append(text)
            return text
        if not next(self._with_findings):
            return text
        for _ in range(MOST_ROUNDS):
            segments = self._segments_with_findings(text)
            if not segments:
                return text
            parts: list[str] = []
            end = 0
            for start, findings in segments:
                for kind, first, last in findings:
                    self.found.append((at, kind))
                    if self._placeholder is not None:
                        value = text[start + first : start + last]
                        parts += text[end : start + first], self._placeholder(kind, normalised(kind, value))
                        end = start + last
            if self._placeholder is None:
                return text
            text = "".join(parts) + text[end:]
        return text

    def _segments_with_findings(self, text: str) -> list[tuple[int, list[Any]]]:
        """Returns the findings in the text between placeholders, each with the place where that part begins."""
        if "[" not in text:
            findings = find(text, self._kinds)
            return [(0, findings)] if findings else []
        segments, begin = [], 0
        for placeholder in PLACEHOLDER.finditer(text):
            segments.append((begin, find(text[begin : placeholder.start()], self._kinds)))
            begin = placeholder.end()
        segments.append((begin, find(text[begin:], self._kinds)))
        return [(start, findings) for start, findings in segments if findings]
