"""The settings, read once from the environment (prefix ``THUMBWHEEL_``) and from ``.env``."""

import os
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import Field, RedisDsn, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from thumbwheel.wire.serving import KEY_PREFIX

from app.errors import Fault, Invalid

#: Parameters of libpq that asyncpg would hand to Postgres as settings of the session, which it does not know.
PSYCOPG_ALONE = {
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "gssencmode", "channel_binding", "require_auth", "load_balance_hosts", "fallback_application_name", "options",
}  # fmt: skip

PREFIX = "THUMBWHEEL_"
#: The shortest key of pseudonyms.
KEY_BYTES = 32
#: Variables that only docker-compose.yml reads.
COMPOSE_NAMES = {"THUMBWHEEL_MODELS", "THUMBWHEEL_BIND"}


def default_data_dir() -> Path:
    """Returns the folder for data. For root it is a system folder, since embedded servers then run as another user, who
    may not enter root's home.
    """
    given = os.environ.get("XDG_DATA_HOME")
    if given:
        return Path(given) / "thumbwheel"
    return Path("/var/lib/thumbwheel") if os.geteuid() == 0 else Path.home() / ".local" / "share" / "thumbwheel"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: str | None = Field(
        None, description="postgresql://user:password@host:port/name; unset: `thumbwheel up` starts an embedded one"
    )
    redis_url: RedisDsn | None = Field(
        None, description="redis://host:port/0; unset: `thumbwheel up` starts an embedded one"
    )
    postgres_bin: Path | None = Field(
        None, description="folder with the programs of an embedded Postgres; unset: those of the extra `embedded`"
    )
    valkey_server: Path | None = Field(
        None, description="program of an embedded Valkey or Redis; unset: that of the extra `embedded`"
    )
    data_dir: Path = Field(
        default_factory=default_data_dir, description="artifacts, working folders and embedded servers live here"
    )
    artifacts_url: str | None = Field(
        None, description="where files are stored by their SHA-256, any fsspec URL; unset: a folder in data_dir"
    )
    host: str = Field("127.0.0.1", description="address the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="port of the API; 0 takes a free one")
    url: str = Field("http://127.0.0.1:8000", description="where clients (the CLI) find the API")
    api_key: str | None = Field(None, description="the key with which the CLI calls the API")
    project: str | None = Field(None, description="the project on which the CLI works; needed if the key opens several")
    base_models: Literal["here", "on_workers"] = Field(
        "here",
        description="who sees the folders of base models: here: the API checks them when they are named; on_workers: "
        "only workers do, and check them before a run",
    )
    alive_file: Path | None = Field(
        None, description="file that a worker touches every few seconds while it can take messages, for health checks"
    )
    header_seconds: float = Field(
        10, gt=0, description="a request whose headers are not complete after this many seconds is answered with 408"
    )
    body_seconds: float = Field(
        30, gt=0, description="a request whose body pauses for this many seconds is answered with 408"
    )
    max_connections: int = Field(
        4000, ge=1, description="open connections of an API process; requests on further ones are answered with 503"
    )
    shutdown_seconds: float = Field(
        30, gt=0, description="seconds after SIGTERM within which the API finishes open requests; then it exits"
    )
    page_access: Literal["key", "open"] = Field(
        "key",
        description="key: the status page and /metrics ask for an API key; open: who reaches them may read them",
    )
    database_connections: int = Field(
        20, ge=16, description="connections to Postgres that one API process may open, all its purposes together"
    )
    log_format: Literal["text", "json"] = "text"
    lease_seconds: float = Field(
        30, gt=0, description="a worker that is silent for this many seconds loses its run or target to the next one"
    )
    run_attempts: int = Field(5, ge=1, description="a run that was lost this many times fails for good")
    disk_full_hours: float = Field(
        24, ge=0, description="hours for which a run is tried again while a disk is full; then it fails"
    )
    trainer_memory_gb: float | None = Field(
        None,
        gt=0,
        description="gigabytes of memory (not a GPU's) that trainer and scorer may each use; unset: all that there is",
    )
    work_days: float = Field(
        14, gt=0, description="days for which a run's working folder is kept after its end: a retry continues from it"
    )
    import_max_bytes: int = Field(
        4_000_000_000,
        ge=1,
        description="the largest file that may be uploaded as an import; decompressed, 20 times this",
    )
    import_days: float = Field(
        30, gt=0, description="days for which the report of an uploaded import is kept after its end; a dry run's: one"
    )
    tick_seconds: float = Field(
        10, gt=0, description="how often the beat looks at triggers, expired leases and the outbox"
    )

    pseudonym_key: SecretStr | None = Field(
        None,
        description="at least 32 random bytes that make the pseudonyms of actors and of personal data, the same in "
        "every process and for ever; needed by projects that mask texts or hash actors",
    )

    gateway: bool = Field(
        default=False, description="true: the API also answers OpenAI's completions (docs/gateway.md)"
    )
    gateway_port: int = Field(8001, ge=0, le=65535, description="port of `thumbwheel gateway`; 0 takes a free one")
    gateway_requests: int = Field(
        1000, ge=1, description="requests that one gateway answers at a time; further ones are answered with 503"
    )
    gateway_first_byte_seconds: float = Field(
        60, gt=0, description="longest wait for the first byte of a streamed answer; then the next target is asked"
    )
    gateway_answer_seconds: float = Field(
        600, gt=0, description="longest wait for an answer that is not streamed, which begins when all is written"
    )
    gateway_idle_seconds: float = Field(
        60, gt=0, description="longest pause within an answer; then the answer ends with an error"
    )

    public_url: str | None = Field(
        None,
        description="where others reach the API, for links in webhooks and for vote links; unset: at THUMBWHEEL_URL",
    )
    webhooks_allow_private: bool = Field(
        default=False,
        description="true: webhooks may be sent to private addresses and by http, as within one network",
    )

    judge_url: str | None = Field(
        None,
        description="OpenAI-compatible endpoint of a judge, for example https://host/v1; it is sent held-out prompts "
        "and what the models write for them; unset: no run is judged",
    )
    judge_model: str | None = Field(None, validate_default=True, description="the judge's model at judge_url")
    judge_key: SecretStr | None = Field(None, description="the key for judge_url, sent as a bearer token")
    judge_budget: int = Field(400, ge=2, description="requests to the judge in one run; each pair takes two")
    judge_timeout: float = Field(60, gt=0, le=3600, description="seconds that the judge may take for one answer")

    presidio_language: str = Field(
        "en", min_length=2, description="language of the texts in which Presidio finds personal data, such as de"
    )
    presidio_model: str | None = Field(
        None, description="installed spaCy model, or its folder, for Presidio's kinds that need one, such as person"
    )

    @field_validator(
        "judge_url", "judge_model", "judge_key", "public_url", "pseudonym_key", "presidio_model", mode="before"
    )
    @classmethod
    def _unset_if_empty(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("judge_url", "public_url")
    @classmethod
    def _address(cls, url: str | None, field: ValidationInfo) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must begin with http:// or https:// and name a host")
        if "@" in parts.netloc:
            remedy = ": set THUMBWHEEL_JUDGE_KEY" if field.field_name == "judge_url" else ""
            raise ValueError(f"must hold no user name or password{remedy}")
        return url

    @field_validator("judge_model")
    @classmethod
    def _with_its_endpoint(cls, model: str | None, others: ValidationInfo) -> str | None:
        if model is None and others.data.get("judge_url") is not None:
            raise ValueError("is missing: name the judge's model at THUMBWHEEL_JUDGE_URL")
        if model is not None and others.data.get("judge_url", "") is None:
            raise ValueError("has no effect without THUMBWHEEL_JUDGE_URL: set both or neither")
        return model

    @field_validator("judge_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        text = key.get_secret_value() if key is not None else ""
        if not (text.isascii() and text.isprintable() and " " not in text) and text:
            raise ValueError("has characters that no header can carry")
        return key

    @field_validator("pseudonym_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value().encode()) < KEY_BYTES:
            raise ValueError(f"is shorter than {KEY_BYTES} bytes: make one with `openssl rand -hex 32`")
        return key

    @field_validator("database_url")
    @classmethod
    def _driver(cls, url: str | None) -> str | None:
        if url is None:
            return None
        scheme, separator, rest = url.partition("://")
        if scheme not in {"postgresql", "postgres", "postgresql+psycopg"} or not separator:
            raise ValueError("must begin with postgresql://")
        return f"postgresql+psycopg://{rest}"

    @property
    def artifacts(self) -> str:
        return self.artifacts_url or str(self.data_dir / "artifacts")

    @property
    def work_dir(self) -> Path:
        """The folder that holds the working folders of runs, on a disk that the workers of one machine share."""
        return self.data_dir / "work"

    def as_environment(self) -> dict[str, str]:
        """Returns the settings that were made as environment variables, for another process: secrets, too."""
        made = {name: getattr(self, name) for name in self.model_fields_set}
        texts = self.model_dump(mode="json", include=self.model_fields_set, exclude_none=True)
        return {
            f"{PREFIX}{name.upper()}": made[name].get_secret_value() if isinstance(made[name], SecretStr) else str(text)
            for name, text in texts.items()
        }

    def need_database(self) -> str:
        if self.database_url is None:
            raise Invalid(
                "THUMBWHEEL_DATABASE_URL is not set: point it at a Postgres, or use `thumbwheel up`, which brings one.",
                code="settings_incomplete",
            )
        return self.database_url

    def need_libpq_database(self) -> str:
        """Returns the database's URL for libpq and asyncpg, without the parameters that only psycopg understands."""
        parts = urlsplit(self.need_database())
        query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in PSYCOPG_ALONE])
        return urlunsplit(("postgresql", parts.netloc, parts.path, query, ""))

    def need_redis(self) -> str:
        if self.redis_url is None:
            raise Invalid(
                "THUMBWHEEL_REDIS_URL is not set: point it at a Redis, or use `thumbwheel up`, which brings one.",
                code="settings_incomplete",
            )
        return str(self.redis_url)


def names() -> list[str]:
    """Returns the names of the environment variables of all settings."""
    return [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]


def unknown_names() -> list[str]:
    """Returns the names in the environment and in `.env` that look like settings but are unknown."""
    file = Settings.model_config.get("env_file")
    given = {*os.environ, *(dotenv_values(str(file)) if file else ())}
    known = {*names(), *COMPOSE_NAMES}
    return sorted(name for name in given if name.startswith(PREFIX) and name not in known and not _is_key(name))


def _is_key(name: str) -> bool:
    """Returns whether the variable may be the key of a serving target, whose settings name it."""
    return name.startswith(KEY_PREFIX)


@cache
def current() -> Settings:
    """Returns the settings of this process. Raises `Invalid`, which names the faulty variables."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            Fault("THUMBWHEEL_" + "_".join(str(part) for part in fault["loc"]).upper(), fault["msg"])
            for fault in error.errors()
        ]
        what = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The environment is wrong: {what}.", code="settings_invalid", faults=faults) from error
