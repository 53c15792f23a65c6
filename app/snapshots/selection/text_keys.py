"""Stores the texts of prompts and completions on disk as they come, and gives them numbers and keys. Pure except for
the file of texts.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from thumbwheel.chat_messages import UnreadableMessage, is_plain, normal_message, normal_prompt

from app.labels.guards.text import normalised
from app.snapshots.prompts.split import group_of, key_of
from app.spill.texts import SpilledTexts

KEY = 16  # bytes
#: Texts that are read, or requested, at a time.
AT_ONCE = 4096
#: The reasons for which a prompt is unusable; the first has the number -1, the second -2, and so on.
UNUSABLE = ("media_content", "tool_arguments", "content_not_text")
#: Distinct prompts that are remembered.
REMEMBERED = 50_000
#: Characters at the end of a text that are read first, to find texts that may be equal; and how many of them are
#: compared after normalisation: fewer, since the cut may change the characters next to it.
END, COMPARED = 96, 32
#: Bytes at the end of a text that usually suffice if they are ASCII, since each is a character then; and how they are
#: folded: white space to a space, capitals to small letters.
ASCII_END = 48
ASCII_FOLDED = bytes(
    ord(" " if chr(byte).isspace() else chr(byte).casefold()) if byte < 128 else byte for byte in range(256)
)
#: The most bytes of a UTF-8 character; the bytes that begin none.
MOST_BYTES, CONTINUED = 4, bytes(range(0x80, 0xC0))


@dataclass(frozen=True)
class Prompts:
    """The distinct prompts. key: (P, 2) key of the prompt's group text · place, length: (P,) offset and bytes of its
    text · chat: (P,) whether the text is JSON of messages · rich: (P,) whether these are more than roles and texts."""

    key: NDArray[np.uint64]
    place: NDArray[np.int64]
    length: NDArray[np.int32]
    chat: NDArray[np.bool_]
    rich: NDArray[np.bool_]

    def groups(self, texts: SpilledTexts, which: NDArray[np.integer[Any]] | None = None) -> Iterator[str]:
        """Yields the group text of each prompt, or of those in `which`; see `split.group_of`."""
        numbers = np.arange(len(self.key)) if which is None else which
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            stored = texts.read(self.place[part], self.length[part])
            for text, chat in zip(stored, self.chat[part].tolist(), strict=True):
                yield group_of(msgspec.json.decode(text) if chat else text.decode("utf-8", "surrogatepass"))


class TextCollector:
    """Collects texts as they come.

    A prompt that comes again after many others is stored again; `prompts` finds the equal ones.
    """

    def __init__(self, texts: SpilledTexts, *, exact: bool) -> None:
        self._texts = texts
        self._exact = exact
        self._known: dict[bytes, int] = {}
        self._key, self._digest = bytearray(), bytearray()
        self._place, self._length, self._chat = array("q"), array("i"), bytearray()
        self._rich = bytearray()

    def prompts_of(self, sent: Sequence[bytes]) -> NDArray[np.int32]:
        """Returns the numbers of prompts, for `completions` and `prompts`; a negative one, of `UNUSABLE`, for a prompt
        with a message that has no normal form, since the shards have no columns for that."""
        known = self._known
        numbers = np.empty(len(sent), dtype=np.int32)
        for index, prompt in enumerate(sent):
            key = digest(prompt)
            number = known.get(key)
            if number is None:
                if len(known) >= REMEMBERED:
                    known.clear()
                number = known[key] = self._new(msgspec.json.decode(prompt))
            numbers[index] = number
        return numbers

    def _new(self, sent: Any) -> int:
        try:
            prompt = normal_prompt(sent)
        except UnreadableMessage as unreadable:
            return -1 - UNUSABLE.index(unreadable.reason)
        if isinstance(prompt, str):
            text = encoded(prompt)
        else:
            text = encoded(json.dumps(prompt, sort_keys=True, ensure_ascii=False))
        self._digest += digest(b"text" if isinstance(prompt, str) else b"chat", text)
        self._key += key_of(group_of(prompt))
        self._place.append(self._texts.keep(text))
        self._length.append(len(text))
        self._chat.append(not isinstance(prompt, str))
        self._rich.append(not is_plain(prompt))
        return len(self._place) - 1

    def messages(self, sent: Sequence[bytes | None]) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
        """Stores the completions that are messages of more than a text. Returns their offsets and lengths by index, and
        for those without a normal form the number of the reason, as `prompts_of` does."""
        places: dict[int, tuple[int, int]] = {}
        unusable: dict[int, int] = {}
        for index, message in enumerate(sent):
            if message is None:
                continue
            try:
                normal = normal_message(msgspec.json.decode(message))
            except UnreadableMessage as unreadable:
                unusable[index] = -1 - UNUSABLE.index(unreadable.reason)
                continue
            if not is_plain([normal]):
                text = encoded(json.dumps(normal, sort_keys=True, ensure_ascii=False))
                places[index] = self._texts.keep(text), len(text)
        return places, unusable

    def completions(
        self, texts: Sequence[bytes], prompts: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]]:
        """Stores completions, given with the numbers of their prompts; returns their offsets, lengths and keys."""
        keys = memoryview(self._key if self._exact else self._digest)
        of_prompts = [keys[KEY * prompt : KEY * (prompt + 1)] for prompt in prompts.tolist()]
        if self._exact:
            digests = [digest(key, alike(text)) for key, text in zip(of_prompts, texts, strict=True)]
        else:
            digests = [digest(key, text) for key, text in zip(of_prompts, texts, strict=True)]
        length = np.array([len(text) for text in texts], dtype=np.int32)
        start = self._texts.keep(b"".join(texts))
        offset = start + np.cumsum(length, dtype=np.int64) - length
        return offset, length, np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)

    def prompts(self) -> tuple[Prompts, NDArray[np.int32]]:
        """Returns the distinct prompts, and the index among them for each number that `prompts_of` gave."""
        number = numbered(np.frombuffer(self._digest, dtype=np.uint64).reshape(-1, 2))
        first = np.empty(int(number.max(initial=-1)) + 1, dtype=np.int32)
        first[number[::-1]] = np.arange(len(number), dtype=np.int32)[::-1]
        prompts = Prompts(
            key=np.frombuffer(self._key, dtype=np.uint64).reshape(-1, 2)[first],
            place=np.frombuffer(self._place, dtype=np.int64)[first],
            length=np.frombuffer(self._length, dtype=np.int32)[first],
            chat=np.frombuffer(self._chat, dtype=bool)[first],
            rich=np.frombuffer(self._rich, dtype=bool)[first],
        )
        return prompts, number


def alike(text: bytes) -> bytes:
    """Returns a key that is equal for texts that are equal after normalisation, and for few others.

    A comparison of whole texts takes several times as long.
    """
    end = text[-ASCII_END:]
    if end.isascii():
        folded = b" ".join(end.translate(ASCII_FOLDED).split())
        if len(folded) >= COMPARED or len(text) <= ASCII_END:
            return folded[-COMPARED:]
    return _alike_of_any(text)


def _alike_of_any(text: bytes) -> bytes:
    if len(text) > MOST_BYTES * END:
        ending = normalised(_decoded(text[-MOST_BYTES * END :])[-END:])
        if len(ending) >= 2 * COMPARED:
            return encoded(ending[-COMPARED:])
    return encoded(normalised(_decoded(text))[-COMPARED:])


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> str:
    """Decodes UTF-8 that may begin within a character, which is then left out."""
    return text.lstrip(CONTINUED).decode("utf-8", "surrogatepass")


def digest(*parts: bytes | memoryview) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=KEY).digest()


def numbered(keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Returns a number from 0 for each of (N, 2) keys, equal for equal keys."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    new = np.zeros(len(keys), dtype=bool)
    new[:1] = True
    for half in (keys[:, 0], keys[:, 1]):  # one after the other: both at once are the largest thing in memory
        ordered = half[order]
        new[1:] |= ordered[1:] != ordered[:-1]
        del ordered
    numbers = np.empty(len(keys), dtype=np.int32)
    numbers[order] = np.cumsum(new, dtype=np.int32) - 1
    return numbers
