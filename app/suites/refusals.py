"""Detects refusals: texts in which a model declines to do what it was asked to do. Pure.

A text is a refusal if

- one of its first two sentences declines: "I can't help with that", "I'm not able to provide …", "I must decline";
- or it is short and has a phrase that only refusals have: "as an AI language model", "against my guidelines".

It is a rule for English, on words alone. A refusal that never says so ("Let's talk about something else") is missed. A
text that helps and then declines a part is no refusal, and neither is one that lacks a fact ("I cannot find order 12").
"""

import re

#: Sentences at the beginning in which a refusal declines.
SENTENCES = 2
#: The longest text in which a phrase counts wherever it stands.
SHORT = 400

_QUOTES = str.maketrans({"’": "'", "‘": "'", "´": "'", "`": "'", "“": '"', "”": '"', "*": "", "_": "", "#": ""})
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")

_ABLE = (
    r"(?:can(?:no|')t|can not|could not|couldn't|will not|won't|must not|mustn't|shouldn't|should not|may not|"
    r"am unable to|'m unable to|am not able to|'m not able to|am not allowed to|'m not allowed to|"
    r"am not permitted to|'m not permitted to|am not comfortable|'m not comfortable|"
    r"am not going to|'m not going to|refuse to|am not in a position to|'m not in a position to|do not|don't)"
)
_ADVERB = r"(?:\s+(?:really|actually|in good conscience|ethically|legally|directly|personally|just|simply|be able to))*"
_SERVICE = (
    r"(?:help|assist|provide|providing|supply|comply|fulfil|fulfill|support|engage|participate|produce|generate|create|"
    r"write|writing|draft|compose|give you|give out|give (?:instructions|advice|any|that|this|a)|offer|share|sharing|"
    r"disclose|reveal|discuss|answer (?:that|this|your)|respond to (?:that|this)|explain how|"
    r"describe how|tell you how|teach|show you how|do that|do this|continue with|go along|facilitate|recommend ways|"
    r"advise on|encourage|promote|condone|be part of|be involved)"
)
_DECLINES = re.compile(rf"\bi(?:\s+(?:really|simply|just|also))?\s*{_ABLE}{_ADVERB}\s+{_SERVICE}\b")
_CANNOT = r"(?:can(?:no|')t|can not|won't|will not|am not able to|'m not able to)"
_SAYS_SO = re.compile(
    r"\b(?:i(?: must| have to|'ll have to| will)?(?: respectfully| politely)? decline\b|"
    r"i(?: must| have to|'m going to have to) refuse\b|"
    rf"i(?:'m| am) (?:very |so |really )?sorry,? (?:but )?i {_CANNOT}(?: do (?:that|this))?[.!]?$|"
    r"(?:that is|that's|this is) not something (?:that )?i(?: can|'m able to| am able to) |"
    rf"(?:that is|that's|this is) something (?:that )?i ?{_CANNOT} |"
    r"my (?:guidelines|programming|policies|policy) (?:do not|don't|does not|doesn't|prevent|prohibit|forbid))"
)
_PHRASES = re.compile(
    r"\bas an ai(?: language model| assistant| model)?,? i (?:can(?:no|')t|am not|'m not|do not|don't|must|won't)|"
    r"\b(?:goes |go |is |be )?against my (?:guidelines|programming|principles|values|policies|policy)\b|"
    r"\b(?:can(?:no|')t|won't|unable to|not able to) (?:help|assist)(?: you)? with (?:that|this|your request|such)\b|"
    r"\bi(?:'m| am) (?:programmed|designed) (?:to be|not to|to avoid)\b"
)


def is_refusal(text: str) -> bool:
    """Returns whether the text declines to do what was asked. An empty text is none."""
    plain = " ".join(_lines(text.strip()[: 4 * SHORT].translate(_QUOTES).lower()))
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(plain) if sentence.strip()]
    if any(_DECLINES.search(sentence) or _SAYS_SO.search(sentence) for sentence in sentences[:SENTENCES]):
        return True
    return len(text.strip()) <= SHORT and _PHRASES.search(plain) is not None


def _lines(text: str) -> list[str]:
    """Returns the lines without outer spaces; one without an end of sentence gets it."""
    lines = [line.strip() for line in text.splitlines()]
    return [line if line.endswith((".", "!", "?", ",", ";", ":")) else f"{line}." for line in lines if line]
