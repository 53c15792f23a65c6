"""Reads requests in OpenAI's shape, and writes what a target is sent instead. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError
from thumbwheel import wire
from thumbwheel.openai_shape.choices import choice_id, prompts_in, sampling_of
from thumbwheel.wire.serving import TargetKind

from app.errors import Fault, Invalid

CHAT_PATH, TEXT_PATH = "/v1/chat/completions", "/v1/completions"
ACTOR, CONVERSATION, COMPLETION = (
    b"x-thumbwheel-actor", b"x-thumbwheel-conversation", b"x-thumbwheel-completion-id",
)  # fmt: skip
#: The largest number of completions of one request.
MOST_CHOICES = 128
#: Fields that stay here: the user, what is stored with the completion, what would choose another model, and what names
#: other hosts or requests to the server (vLLM and SGLang connect to the hosts that a caller names in them).
NOT_SENT = frozenset(
    {
        "metadata", "store", "user", "safety_identifier", "lora_path", "kv_transfer_params", "bootstrap_host",
        "bootstrap_port", "bootstrap_room", "rid", "request_id",
    }
)  # fmt: skip
_NAME: TypeAdapter[str] = TypeAdapter(wire.Name)


@dataclass(frozen=True)
class OpenAIRequest:
    """A request of a caller.

    prompts   the number of prompts that it asks completions for
    n         the number of completions of each prompt
    actor     who asks, for the assignment to a canary; it is not stored
    given_id  the caller's own id of the completion
    """

    path: str
    body: Mapping[str, Any]
    model: str
    stream: bool
    n: int
    prompts: int
    actor: str | None
    conversation_id: str | None
    given_id: str | None

    @property
    def chat(self) -> bool:
        return self.path == CHAT_PATH

    @property
    def choices(self) -> int:
        return self.n * self.prompts

    @property
    def wants_log_probs(self) -> bool:
        asked = self.body.get("logprobs")
        return asked is True if self.chat else asked is not None

    @property
    def wants_token_ids(self) -> bool:
        return bool(self.body.get("return_token_ids"))

    @property
    def wants_usage(self) -> bool:
        options = self.body.get("stream_options")
        return not self.stream or (isinstance(options, dict) and bool(options.get("include_usage")))

    @property
    def shows_reasoning(self) -> bool:
        """Returns whether the answer has the reasoning that the model writes: vLLM leaves it out if asked to."""
        return self.body.get("include_reasoning") is not False

    @property
    def metadata(self) -> Any:
        return self.body.get("metadata") or {}

    @property
    def sampling(self) -> dict[str, Any]:
        return sampling_of(self.body)


def read(path: str, body: bytes, headers: Mapping[bytes, bytes]) -> OpenAIRequest:
    """Returns the request. Raises `Invalid`, which names the field."""
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, msgspec.DecodeError) else "it is not UTF-8 text"
        raise _invalid("", f"The body is not valid JSON ({reason}): send an object.", code="invalid_json") from None
    if not isinstance(document, dict):
        raise _invalid("", "The body is not a JSON object: send the fields of the request.", code="invalid_json")
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise _invalid("model", "model is missing: send the name of the project.")
    stream = document.get("stream")
    if not (stream is None or isinstance(stream, bool)):
        raise _invalid("stream", "stream is not a boolean: send true or false.")
    if not (document.get("metadata") is None or isinstance(document["metadata"], dict)):
        raise _invalid("metadata", "metadata is not an object: send names with values.")
    n = document.get("n")
    if n is None:
        n = 1
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise _invalid("n", "n is not a positive integer: send the number of completions.")
    prompts = prompts_in(document.get("prompt")) if path == TEXT_PATH else 1
    if n * prompts > MOST_CHOICES:
        raise _invalid("n", f"This asks for {n * prompts} completions: ask for {MOST_CHOICES} at most.")
    actor = _header(headers, ACTOR) or _text(document.get("safety_identifier")) or _text(document.get("user"))
    given_id = _header(headers, COMPLETION)
    if given_id is not None and n * prompts > 1:
        _require_name(choice_id(given_id, n * prompts - 1, n * prompts), COMPLETION)
    return OpenAIRequest(
        path, document, model, bool(stream), n, prompts, actor, _header(headers, CONVERSATION), given_id
    )


def sent_to_target(request: OpenAIRequest, model: str, kind: TargetKind) -> bytes:
    """Returns the body for a target: with its name of the model, asking for token ids and log-probs if it gives them.

    vLLM gives both, streamed or not; SGLang gives no token ids in streamed chats and refuses to be asked for them;
    `transformers serve` gives neither and refuses fields that it does not know.
    """
    body = {name: value for name, value in request.body.items() if name not in NOT_SENT}
    body["model"] = model
    if kind == "transformers":
        return msgspec.json.encode(body)
    if request.stream:
        options = body.get("stream_options")
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    if kind == "sglang" and request.chat and request.stream:
        return msgspec.json.encode(body)
    if request.chat:
        body["logprobs"] = True
    elif body.get("logprobs") is None:
        body["logprobs"] = 0 if kind == "vllm" else 1  # SGLang takes 0 for no
    body["return_token_ids"] = True
    return msgspec.json.encode(body)


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    if not value:
        return None
    try:
        return _require_name(value.decode(), name)
    except UnicodeDecodeError:
        raise _invalid(name.decode(), f"The header {name.decode()} is not UTF-8.") from None


def _require_name(text: str, header: bytes) -> str:
    try:
        return _NAME.validate_python(text)
    except ValidationError as error:
        name, reason = header.decode(), error.errors()[0]["msg"].removeprefix("Value error, ")
        raise _invalid(name, f"The header {name} is not valid: {reason}.") from None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _invalid(param: str, message: str, *, code: str = "invalid_request") -> Invalid:
    return Invalid(message, code=code, faults=[Fault(param, message)])
