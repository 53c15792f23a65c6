"""The chat template of a base model, with checks that it leaves every message of a conversation unchanged.

A chat row is sound if the template, opened for the answer, keeps every message of the prompt, and the whole
conversation begins with the opened prompt, followed by the unchanged answer and the template's end of the turn.

A prompt that ends in a turn of the assistant is opened by continuing that turn (`continue_final_message` of
transformers and of the serving stack): the answer begins where the turn ends, and both together are one message.

A text that also occurs in the template's own words proves nothing. Each message is therefore traced through the
template by a mark, a character of the private use area in the middle of its text. The template has kept a message if
the text around its mark is the message's own, and if the rendering minus the marks equals the unmarked rendering.
Tools and tool calls are traced by marks in their names: see `tool_marks`.

Messages come in their normal form (`thumbwheel.chat_messages`). Reasoning in a prompt is passed to the template, which
may leave it out, as it does when the model is served.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from thumbwheel.chat_messages import messages_of, tools_of
from thumbwheel.row_checks import RowFault

from worker.training.data.template_rendering import NotContinued, Rendering
from worker.training.data.tool_marks import answer_texts, marked, rendered_form
from worker.training.machine.process import TrainingRefusal, first_line

#: Positions of a mark, as a share of the text. A mark may split a word that the template looks for, so several
#: positions are tried.
PLACES = (1 / 2, 1 / 4, 3 / 4)
#: Supplementary private use areas.
MARKS = (range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
#: Faults of a template that knows no messages of the developer: they are then rendered as system messages.
OF_UNKNOWN_ROLE = frozenset({"template_error", "template_changes_prompt"})

Message = Mapping[str, Any]


class Conversation(NamedTuple):
    opened: str  # the prompt, opened for the answer
    whole: str  # with the answer, and its end if the template writes one
    start: int  # the answer's first character in `whole`
    answer: str
    #: the texts in the answer that its author chose, if the template writes more than them, such as around tool calls
    chosen: str | None = None

    @property
    def texts(self) -> str:
        """The texts that the answer's author chose."""
        return self.answer if self.chosen is None else self.chosen


class Template:
    """The chat template of a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._rendering = Rendering(tokenizer)
        self.exists = bool(tokenizer.chat_template)
        #: roles of a prompt, index of a message, its beginning (0) or end (1) → whether white space is stripped there
        self._takes_space_at: dict[tuple[tuple[str, ...], int, int], bool] = {}

    def conversation(self, prompt: Any, answer: Sequence[Message]) -> Conversation | RowFault:
        """Returns the rendered conversation, or the fault that keeps the row from training.

        Raises `TrainingRefusal` if the template prints the time: no row of such a model would be trained as it was
        served. White space that the template strips from the ends of a prompt's message is no fault: the serving stack
        renders with the same template, so the model has read the prompt without it.
        """
        if not self.exists:
            return RowFault("no_chat_template")
        messages, tools = messages_of(prompt), tools_of(prompt)
        outcome = self._conversation(messages, tools, answer[0])
        if isinstance(outcome, Conversation) or outcome.reason not in OF_UNKNOWN_ROLE:
            return outcome
        if all(message["role"] != "developer" for message in messages):
            return outcome
        of_system = [{**each, "role": "system"} if each["role"] == "developer" else each for each in messages]
        retried = self._conversation(of_system, tools, answer[0])
        return outcome if isinstance(retried, RowFault) and retried.reason in OF_UNKNOWN_ROLE else retried

    def _conversation(
        self, sent: Sequence[Message], tools: Sequence[Mapping[str, Any]], answer: Message
    ) -> Conversation | RowFault:
        prompt = [rendered_form(message) for message in sent]
        offered: dict[str, Any] = {"tools": list(tools)} if tools else {}
        is_whole = "tool_calls" in answer or "reasoning_content" in answer
        continued = prompt[-1]["role"] == "assistant"
        if continued and (is_whole or "tool_calls" in prompt[-1]):
            return RowFault("template_prefill")
        beginning = str(prompt[-1]["content"]) if continued else ""
        text = str(answer["content"])
        whole_turn = rendered_form(answer) if is_whole else {"role": "assistant", "content": beginning + text}
        messages = [*prompt[: len(prompt) - continued], whole_turn]
        try:
            opened = self._rendering.opened(prompt, **offered)
            whole = self._rendering.render(messages, **offered)
            self._rendering.require_no_clock(prompt, **offered)
        except TrainingRefusal:
            raise
        except NotContinued:
            return RowFault("template_prefill")
        except Exception as error:  # noqa: BLE001 - templates are programs and raise what they like
            return RowFault("template_error", first_line(error))
        if not whole.startswith(opened):
            return RowFault("template_prefill") if continued else self._fault_of_opening(prompt, opened, **offered)
        starts = self._starts(messages, whole, **offered)
        for message, offsets in zip(messages[:-1], starts[:-1], strict=True):
            stripped = message["content"].strip()
            if stripped and not any(start + len(stripped) <= len(opened) for start in offsets):
                if message["role"] == "tool":
                    return RowFault("template_drops_tool_results")
                return RowFault("template_changes_prompt", f"the message of {message['role']}")
        if (fault := self._fault_of_tools(messages, tools, whole)) is not None:
            return fault
        if is_whole:
            return self._with_whole_answer(messages, answer, opened, whole, **offered)
        turn = whole_turn["content"]
        before = len(turn) - len(turn.lstrip())
        begins = [at - before + len(beginning) for at in starts[-1] if at - before + len(beginning) >= len(opened)]
        start = next((at for at in begins if whole.startswith(text, at)), None)
        if start is None:
            return RowFault("template_changes_answer")
        if whole[len(opened) : start].strip():
            if continued:
                return RowFault("template_prefill")
            if opened == self._rendering.render(prompt, **offered):
                return RowFault("template_generation_prompt")
            # The template inserts text that serving does not, such as an empty block of reasoning: the answer was
            # sampled directly after the opened prompt.
            whole, start = opened + whole[start:], len(opened)
        elif continued:  # a template that strips white space from the end of the turn has stripped the prompt alone
            whole, start = opened + whole[start:], len(opened)
        return Conversation(opened, whole, start, text)

    def _with_whole_answer(
        self, messages: Sequence[Message], answer: Message, opened: str, whole: str, **offered: Any
    ) -> Conversation | RowFault:
        """Returns the conversation whose answer is the template's rendering of a message with calls or reasoning."""
        *prompt, turn = messages
        reasoning = answer.get("reasoning_content", "").strip()
        if reasoning not in whole[len(opened) :]:
            return RowFault("template_drops_reasoning")
        start = len(opened)
        if not reasoning:
            start += len(self._inserted(messages, opened, whole, **offered))
            if start > len(opened) and opened == self._rendering.render(prompt, **offered):
                return RowFault("template_generation_prompt")
        if turn["content"].strip() and turn["content"] not in whole[start:]:
            return RowFault("template_changes_answer")
        chosen = "\n".join(filter(None, answer_texts(answer)))
        return Conversation(opened, opened + whole[start:], len(opened), whole[start:], chosen)

    def _inserted(self, messages: Sequence[Message], opened: str, whole: str, **offered: Any) -> str:
        """Returns what the template inserts between the opened prompt and an answer's beginning, such as an empty block
        of reasoning; an empty text if that is white space alone."""
        turn = messages[-1]
        mark = next(self._unused([whole, *(message["content"] for message in messages)]))
        marked_turn = {**turn, "content": mark + turn["content"]}
        rendered = self._rendering.rendered([*messages[:-1], marked_turn], **offered) or ""
        before = rendered[: rendered.find(mark)] if mark in rendered else opened
        inserted = before.removeprefix(opened)
        return inserted if whole.startswith(opened + inserted) and inserted.strip() else ""

    def _fault_of_tools(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], whole: str
    ) -> RowFault | None:
        """Returns the fault of a conversation with a tool or a tool call that the template does not write."""
        if not tools and all("tool_calls" not in message for message in messages):
            return None
        texts = [whole, json.dumps([list(messages), list(tools)], ensure_ascii=False)]
        with_marks = marked(messages, tools, self._unused(texts))
        if with_marks is None:
            return None
        rendered = self._rendering.rendered(with_marks.messages, **({"tools": with_marks.tools} if tools else {}))
        if rendered is None:
            return RowFault("template_error", "it fails for other names of functions")
        for mark, fault in with_marks.reasons.items():
            # Templates that print Python values, or JSON in ASCII, write an escape in its place.
            if not any(form in rendered for form in (mark, repr(mark)[1:-1], json.dumps(mark)[1:-1])):
                return RowFault(*fault)
        return None

    @staticmethod
    def _unused(texts: Sequence[str]) -> Iterator[str]:
        """Yields the marks that no text has."""
        every = "".join(texts)
        return (mark for mark in map(chr, chain(*MARKS)) if mark not in every)

    def trims(self, prompt: Any) -> bool:
        """Returns whether the template strips white space from an end of any message of a sound prompt.

        Each sequence of roles is tried once.
        """
        messages = [rendered_form(message) for message in messages_of(prompt)]
        roles = tuple(message["role"] for message in messages)
        for index, message in enumerate(messages):
            content = message["content"]
            for side, shorter in enumerate((content.lstrip(), content.rstrip())):
                key = roles, index, side
                if shorter != content and key not in self._takes_space_at:
                    self._takes_space_at[key] = self._takes_space(messages, index, shorter, **_offered(prompt))
                if shorter != content and self._takes_space_at[key]:
                    return True
        return False

    def _fault_of_opening(self, prompt: Sequence[Any], opened: str, **offered: Any) -> RowFault:
        """Returns the fault of a conversation that does not begin with the opened prompt."""
        closed = self._rendering.rendered(prompt, **offered)
        # Only what the template itself writes is quoted: the detail outlives an erased text.
        opening = opened.removeprefix(closed) if closed is not None and opened.startswith(closed) else ""
        return RowFault("template_generation_prompt", f"it opens with {opening!r}" if opening else "")

    def _starts(self, messages: Sequence[Message], whole: str, **offered: Any) -> list[list[int]]:
        """Returns the offsets in `whole` at which the text of each message begins, without white space around it.

        A message that the template changes has no offsets.
        """
        starts: list[list[int]] = [[] for _ in messages]
        together = [index for index, message in enumerate(messages) if message["content"].strip()]
        # Finally each message alone, in case a mark changes what the template writes for another message.
        for share, indices in [*((share, together) for share in PLACES), *((PLACES[0], [index]) for index in together)]:
            missing = [index for index in indices if not starts[index]]
            for index, at in self._followed(messages, missing, share, whole, **offered) if missing else ():
                starts[index].append(at)
        return starts

    def _followed(
        self, messages: Sequence[Message], indices: Sequence[int], share: float, whole: str, **offered: Any
    ) -> Iterator[tuple[int, int]]:
        """Yields the index and the offset in `whole` of each unchanged message; `indices` are those to mark."""
        unused = self._unused([*(message["content"] for message in messages), whole])
        of_mark = dict(zip(unused, indices, strict=False))
        with_marks, offsets = list(messages), {}
        for mark, index in of_mark.items():
            content = messages[index]["content"]
            text = content.strip()
            offsets[index] = text, int(len(text) * share)
            at = content.index(text) + offsets[index][1]
            with_marks[index] = {**messages[index], "content": content[:at] + mark + content[at:]}
        rendered = self._rendering.rendered(with_marks, **offered)
        pieces = re.split(f"([{''.join(of_mark)}])", rendered or "")
        if "".join(pieces[::2]) != whole:
            return  # the template writes a different text if a message has a mark
        position = 0
        for piece, mark in zip(pieces[::2], pieces[1::2], strict=False):
            position += len(piece)
            index = of_mark[mark]
            text, offset = offsets[index]
            if position >= offset and whole.startswith(text, position - offset):
                yield index, position - offset

    def _takes_space(self, prompt: Sequence[Message], index: int, shorter: str, **offered: Any) -> bool:
        without = [*prompt[:index], {**prompt[index], "content": shorter}, *prompt[index + 1 :]]
        try:
            return self._rendering.opened(prompt, **offered) == self._rendering.opened(without, **offered)
        except Exception:  # noqa: BLE001 - templates are programs and raise what they like
            return False


def _offered(prompt: Any) -> dict[str, Any]:
    """Returns the tools of a prompt as the template's variable."""
    tools = tools_of(prompt)
    return {"tools": list(tools)} if tools else {}
