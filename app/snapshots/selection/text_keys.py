"""What prompts and completions say: put on disk as they come, and turned into numbers and keys. Pure but for the file
of texts.
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

from app.labels.guards.text import normalised
from app.snapshots.prompts.split import group_of, key_of
from app.spill.texts import Texts

KEY = 16  # bytes
#: Texts that are read, or asked for, at a time.
AT_ONCE = 4096
#: Different prompts that are remembered.
REMEMBERED = 50_000
#: Characters at the end of a text that are looked at first, to find out which texts may say the same; and how many of
#: them, once normalised, are compared: fewer, as what is cut off may change those at the cut.
END, COMPARED = 96, 32
#: Bytes at the end of a text that are most often enough where they are ASCII, since each is a character then; and how
#: they are folded: a space for white space, small letters for capitals.
ASCII_END = 48
ASCII_FOLDED = bytes(
    ord(" " if chr(byte).isspace() else chr(byte).casefold()) if byte < 128 else byte for byte in range(256)
)
#: A character of UTF-8 has so many bytes at most; those that are no first ones.
MOST_BYTES, CONTINUED = 4, bytes(range(0x80, 0xC0))


@dataclass(frozen=True)
class Prompts:
    """key: (P, 2) what stands for what the prompt says · place, length: (P,) of its text · chat: (P,) whether that is
    JSON of messages."""

    key: NDArray[np.uint64]
    place: NDArray[np.int64]
    length: NDArray[np.int32]
    chat: NDArray[np.bool_]

    def groups(self, texts: Texts, which: NDArray[np.integer[Any]] | None = None) -> Iterator[str]:
        """What each prompt says, or each of these; see `split.group_of`."""
        numbers = np.arange(len(self.key)) if which is None else which
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            said = texts.read(self.place[part], self.length[part])
            for text, chat in zip(said, self.chat[part].tolist(), strict=True):
                yield group_of(msgspec.json.decode(text) if chat else text.decode("utf-8", "surrogatepass"))


class Said:
    """Texts as they come.

    A prompt that comes again after many others is stored again; `prompts` finds out which ones are the same.
    """

    def __init__(self, texts: Texts, *, exact: bool) -> None:
        self._texts = texts
        self._exact = exact
        self._known: dict[bytes, int] = {}
        self._key, self._digest = bytearray(), bytearray()
        self._place, self._length, self._chat = array("q"), array("i"), bytearray()

    def prompts_of(self, sent: Sequence[bytes]) -> NDArray[np.int32]:
        """Their numbers, for `completions` and `prompts`; -1 where a message is more than a text: the shards have no
        columns for that."""
        known = self._known
        numbers = np.empty(len(sent), dtype=np.int32)
        for place, one in enumerate(sent):
            key = digest(one)
            number = known.get(key)
            if number is None:
                if len(known) >= REMEMBERED:
                    known.clear()
                number = known[key] = self._new(msgspec.json.decode(one))
            numbers[place] = number
        return numbers

    def _new(self, prompt: str | list[dict[str, Any]]) -> int:
        if isinstance(prompt, str):
            said = encoded(prompt)
        elif any(message.keys() != {"role", "content"} for message in prompt):
            return -1
        else:
            said = encoded(json.dumps(prompt, sort_keys=True, ensure_ascii=False))
        self._digest += digest(b"text" if isinstance(prompt, str) else b"chat", said)
        self._key += key_of(group_of(prompt))
        self._place.append(self._texts.keep(said))
        self._length.append(len(said))
        self._chat.append(not isinstance(prompt, str))
        return len(self._place) - 1

    def completions(
        self, texts: Sequence[bytes], prompts: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]]:
        """Of texts and the numbers of their prompts: places, lengths, and what stands for what both say."""
        keys = memoryview(self._key if self._exact else self._digest)
        of_prompts = [keys[KEY * prompt : KEY * (prompt + 1)] for prompt in prompts.tolist()]
        if self._exact:
            said = [digest(key, alike(text)) for key, text in zip(of_prompts, texts, strict=True)]
        else:
            said = [digest(key, text) for key, text in zip(of_prompts, texts, strict=True)]
        length = np.array([len(one) for one in texts], dtype=np.int32)
        start = self._texts.keep(b"".join(texts))
        place = start + np.cumsum(length, dtype=np.int64) - length
        return place, length, np.frombuffer(b"".join(said), dtype=np.uint64).reshape(-1, 2)

    def prompts(self) -> tuple[Prompts, NDArray[np.int32]]:
        """The different ones, and which of them each number that was given stands for."""
        number = numbered(np.frombuffer(self._digest, dtype=np.uint64).reshape(-1, 2))
        first = np.empty(int(number.max(initial=-1)) + 1, dtype=np.int32)
        first[number[::-1]] = np.arange(len(number), dtype=np.int32)[::-1]
        prompts = Prompts(
            key=np.frombuffer(self._key, dtype=np.uint64).reshape(-1, 2)[first],
            place=np.frombuffer(self._place, dtype=np.int64)[first],
            length=np.frombuffer(self._length, dtype=np.int32)[first],
            chat=np.frombuffer(self._chat, dtype=bool)[first],
        )
        return prompts, number


def alike(text: bytes) -> bytes:
    """The same for texts that say the same; for few others. To say for sure takes several times as long."""
    end = text[-ASCII_END:]
    if end.isascii():
        folded = b" ".join(end.translate(ASCII_FOLDED).split())
        if len(folded) >= COMPARED or len(text) <= ASCII_END:
            return folded[-COMPARED:]
    return _alike_of_any(text)


def _alike_of_any(text: bytes) -> bytes:
    if len(text) > MOST_BYTES * END:
        said = normalised(_decoded(text[-MOST_BYTES * END :])[-END:])
        if len(said) >= 2 * COMPARED:
            return encoded(said[-COMPARED:])
    return encoded(normalised(_decoded(text))[-COMPARED:])


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> str:
    """UTF-8 that may begin within a character, which is left out then."""
    return text.lstrip(CONTINUED).decode("utf-8", "surrogatepass")


def digest(*parts: bytes | memoryview) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=KEY).digest()


def numbered(keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """(N, 2) keys as numbers from 0, the same for the same key."""
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
