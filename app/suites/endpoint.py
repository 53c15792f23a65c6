"""Requests to an endpoint in OpenAI's shape: completions of chats and embeddings of texts.

Whatever goes wrong with an answer is `Missing` with the reason: a connection that breaks, a status that stays an error,
an answer that is too large, too slow, or not in this shape. The key goes into one header and into no message, log or
answer.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from thumbwheel.client.retries import Retries
from thumbwheel.client.retry_rules import if_safe
from thumbwheel.errors import ClientError, successful

from app.errors import Invalid, brief
from app.suites.bounded_requests import AnswerTooLarge, BoundedRequests, RequestsClosed

#: Bytes of an answer; a longer one is not read to its end.
MOST_ANSWER_BYTES = 4 * 2**20
MOST_TEXT = 200_000


class Missing(Exception):
    """No usable answer could be had; the text is the reason."""


class NotRequested(Missing):
    """No answer could be had, because no request was sent."""


@dataclass(frozen=True)
class Sampling:
    """The settings of a model that writes; temperature 0 is greedy."""

    temperature: float = 0.0
    max_tokens: int = 512
    seed: int | None = None


@dataclass(frozen=True)
class WrittenText:
    """A text of the model.

    cut_off  whether it ended because it reached the limit of tokens
    tokens   of the request and the text together, if the server counted them
    """

    text: str
    cut_off: bool
    tokens: int | None = None


class Endpoint:
    """A model behind an endpoint.

    url      the address before `/chat/completions` and `/embeddings`, for example http://127.0.0.1:8000/v1
    key      sent as a bearer token
    timeout  seconds that one attempt may take as a whole
    tries    attempts of each request

    before_attempt  called before each attempt; it may raise `NotRequested`
    tokens_option   the name of the limit of tokens, for messages
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        timeout: float = 60,
        tries: int = 3,
        sleep: Callable[[float], None] = time.sleep,
        before_attempt: Callable[[], None] = lambda: None,
        tokens_option: str = "--max-tokens",
    ) -> None:
        self.url = checked_url(url)
        self.model = model
        self._key = key
        self._timeout = timeout
        self._before_attempt = before_attempt
        self._tokens_option = tokens_option
        self._retries = Retries(tries, 2 * timeout, sleep)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._requests = BoundedRequests(headers, seconds=timeout, most_bytes=MOST_ANSWER_BYTES)

    def close(self) -> None:
        """Closes all connections; a request that is under way fails."""
        self._requests.close()

    def write(self, messages: Sequence[Mapping[str, Any]], sampling: Sampling) -> WrittenText:
        """Returns what the model writes next. Raises `Missing`."""
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            **({} if sampling.seed is None else {"seed": sampling.seed}),
        }
        document = self._post("/chat/completions", body)
        try:
            choice = document["choices"][0]
            message = choice["message"]
            text = message.get("content")
            text = message.get("refusal") if text is None else text
            cut_off = choice.get("finish_reason") == "length"
        except (KeyError, IndexError, TypeError, AttributeError):
            raise Missing("the answer is not a chat completion: choices[0].message is missing") from None
        if not isinstance(text, str):
            raise Missing("the answer has no text in choices[0].message.content")
        if cut_off and not text.strip():
            raise Missing(f"all {sampling.max_tokens} tokens were used before any text: raise {self._tokens_option}")
        if len(text) > MOST_TEXT:
            raise Missing(f"the text has more than {MOST_TEXT:,} characters")
        return WrittenText(self.without_key(text), cut_off, _tokens_of(document))

    def embed(self, texts: Sequence[str]) -> dict[str, Sequence[float]]:
        """Returns the embedding of each text. Raises `Missing`."""
        document = self._post("/embeddings", {"model": self.model, "input": list(texts), "encoding_format": "float"})
        try:
            vectors = {item["index"]: [float(number) for number in item["embedding"]] for item in document["data"]}
            return {text: vectors[index] for index, text in enumerate(texts)}
        except (KeyError, TypeError, ValueError):
            raise Missing("the answer is not a list of embeddings") from None

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        url = self.url + path
        try:
            response = self._retries.call(self.url, lambda: self._attempt(url, body), if_safe)
            return json.loads(response.content)
        except AnswerTooLarge:
            raise Missing(f"the answer is larger than {MOST_ANSWER_BYTES // 2**20} MiB") from None
        except RequestsClosed:
            raise NotRequested("the requests were ended") from None
        except ClientError as error:
            raise Missing(self.without_key(error.message)) from None
        except httpx.HTTPError as error:
            raise Missing(self.without_key(f"the request failed: {error}")) from None
        except (ValueError, RecursionError):
            raise Missing("the answer is not JSON") from None

    def _attempt(self, url: str, body: Mapping[str, Any]) -> httpx.Response:
        self._before_attempt()
        return successful(self._requests.post(url, body))

    def without_key(self, text: str) -> str:
        """Returns a text of the server without our key, and as valid Unicode."""
        text = text.encode(errors="replace").decode()
        return text.replace(self._key, "***") if self._key else text


def _tokens_of(document: Any) -> int | None:
    usage = document.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0 else None


def checked_url(url: str) -> str:
    """Returns the address without what this module appends to it. Raises `Invalid` if it is not one of HTTP."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Invalid(f"{brief(url, 80)!r} is not a URL: {error}.", code="invalid_endpoint") from None
    if parsed.userinfo:
        raise Invalid(
            "The endpoint's URL holds a user name or password: put the key into an environment variable and name it "
            "by --key-env.",
            code="invalid_endpoint",
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Invalid(
            f"{brief(url, 80)!r} is not the URL of an endpoint: write it as http://127.0.0.1:8000/v1.",
            code="invalid_endpoint",
        )
    return url.rstrip("/").removesuffix("/chat/completions").removesuffix("/embeddings").rstrip("/")
