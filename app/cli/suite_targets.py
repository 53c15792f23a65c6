"""The targets and helpers of `thumbwheel suites run`, from its options, some of which exclude or need each other."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import Invalid

if TYPE_CHECKING:
    from app.suites.endpoint import Endpoint, Sampling
    from app.suites.judge.judge import Judge
    from app.suites.running import Target


@dataclass(frozen=True)
class TargetOptions:
    """An endpoint with its model, or a folder with an optional adapter."""

    endpoint: str | None
    model: str | None
    key_env: str | None
    folder: Path | None
    adapter: Path | None

    def check(self) -> None:
        """Raises `Invalid` unless the options name exactly one target."""
        if (self.endpoint is None) == (self.folder is None):
            both = "exclude each other: give one of them" if self.endpoint is not None else "are missing: give one"
            raise Invalid(f"--endpoint and --folder {both}.", code="invalid_option")
        if self.endpoint is not None and self.model is None:
            raise Invalid("--model is missing: name the model at --endpoint.", code="invalid_option")
        if self.endpoint is not None and self.adapter is not None:
            raise Invalid("--adapter belongs to --folder: leave it out.", code="invalid_option")
        if self.folder is not None and (self.model is not None or self.key_env is not None):
            name = "--model" if self.model is not None else "--key-env"
            raise Invalid(f"{name} belongs to --endpoint: leave it out.", code="invalid_option")

    def document(self) -> dict[str, Any]:
        """Returns the target as JSON values, without its key."""
        if self.folder is not None:
            return {"folder": str(self.folder), "adapter": None if self.adapter is None else str(self.adapter)}
        from app.suites.endpoint import checked_url

        return {"endpoint": checked_url(self.endpoint or ""), "model": self.model}

    def opened(self, sampling: "Sampling", timeout: float, tries: int, closing: ExitStack) -> "Target":
        """Returns the target, which `closing` closes."""
        from app.suites.endpoint import Endpoint
        from app.suites.running import EndpointTarget

        if self.folder is not None:
            from app.cli.local_model import LocalModel

            local = LocalModel(self.folder, self.adapter, sampling)
            closing.callback(local.close)
            return local
        at = Endpoint(self.endpoint or "", self.model or "", key_of(self.key_env), timeout=timeout, tries=tries)
        closing.callback(at.close)
        return EndpointTarget(at, sampling)


@dataclass(frozen=True)
class JudgeOptions:
    judge: str | None
    model: str | None
    key_env: str | None
    requests: int | None
    tokens: int | None
    answer_tokens: int
    cache: Path | None

    def opened(self, timeout: float, tries: int, closing: ExitStack) -> "Judge | None":
        """Returns the judge, which `closing` closes; None without --judge. Raises `Invalid`."""
        if (self.judge is None) != (self.model is None):
            raise Invalid("--judge and --judge-model belong together: give both.", code="invalid_option")
        if self.judge is None or self.model is None:
            options = {
                "--judge-key-env": self.key_env, "--judge-budget": self.requests, "--judge-tokens": self.tokens,
                "--judge-cache": self.cache,
            }  # fmt: skip
            for option, value in options.items():
                if value is not None:
                    raise Invalid(f"{option} belongs to --judge: give both, or neither.", code="invalid_option")
            return None
        from app.suites.judge.answer_cache import AnswerCache
        from app.suites.judge.budget import Budget
        from app.suites.judge.judge import Judge

        judge = Judge(
            self.judge,
            self.model,
            key_of(self.key_env),
            timeout=timeout,
            tries=tries,
            answer_tokens=self.answer_tokens,
            budget=Budget(self.requests, self.tokens),
            cache=None if self.cache is None else AnswerCache(self.cache),
        )
        closing.callback(judge.close)
        return judge


def embeddings_of(
    url: str | None, model: str | None, key_env: str | None, timeout: float, tries: int, closing: ExitStack
) -> "Endpoint | None":
    """Returns the endpoint of embeddings, which `closing` closes; None without one. Raises `Invalid`."""
    from app.suites.endpoint import Endpoint

    if (url is None) != (model is None):
        raise Invalid("--embeddings and --embedding-model belong together: give both.", code="invalid_option")
    if url is None or model is None:
        return None
    at = Endpoint(url, model, key_of(key_env), timeout=timeout, tries=tries)
    closing.callback(at.close)
    return at


def key_of(variable: str | None) -> str | None:
    """Returns the key in an environment variable. Raises `Invalid` if there is none that a header can carry."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise Invalid(f"The environment variable {variable} is empty: set it to the key.", code="invalid_option")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise Invalid(f"The key in {variable} has characters that no header can carry.", code="invalid_option")
    return key
