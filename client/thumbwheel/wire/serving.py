"""Serving targets: the servers and folders that serve a project's checkpoints, and what they were seen to serve."""

from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Discriminator, Field

from thumbwheel.wire.releases import Release
from thumbwheel.wire.values import Body, Name, Slug

TargetKind = Literal["vllm", "sglang", "transformers", "folder", "webhook"]
TargetState = Literal["new", "loading", "serving", "failed", "away", "disabled"]
CanaryState = Literal["new", "loading", "serving", "failed", "away", "left_out", "ending", "disabled"]
ProbeVerdict = Literal["ok", "base_instead_of_adapter", "differs", "not_comparable"]
ServedPrecision = Literal["float32", "float16", "bfloat16"]

#: Prefix of the environment variables that may hold a target's key: no other secret of a worker can be sent away.
KEY_PREFIX = "THUMBWHEEL_SERVING_KEY_"


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError("must be an absolute path without ..")
    return path.rstrip("/") or "/"


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a wrong port
    except ValueError as error:
        raise ValueError(f"is not a URL ({error}): write it as http://127.0.0.1:8000") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise ValueError("must hold no user name or password: put the key into an environment variable (key_env)")
    if parts.query or parts.fragment:
        raise ValueError("must hold no query and no fragment")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


Folder = Annotated[Name, AfterValidator(_absolute)]
ServerUrl = Annotated[Name, AfterValidator(_address)]
KeyVariable = Annotated[str, Field(pattern=rf"^{KEY_PREFIX}[A-Z0-9_]{{1,64}}$")]


class PublishingSettings(Body):
    """The folders from which a target gets its files."""

    publish_folder: Folder = Field(description="folder that the workers write and the server reads")
    server_folder: Folder | None = Field(None, description="publish_folder as the server sees it; unset: the same path")
    base_model: Folder | None = Field(
        None, description="the project's base model as the server sees it; unset: the project's own path"
    )
    canaries: Literal["loaded", "left_out"] = Field(
        "loaded", description="left_out: the target serves the live checkpoint alone, whatever share has a canary"
    )


class RemoteSettings(PublishingSettings):
    """A target that is reached over HTTP."""

    url: ServerUrl = Field(description="address of the server without /v1, for example http://10.0.0.7:8000")
    key_env: KeyVariable | None = Field(
        None,
        description=f"name of the environment variable of the workers that holds the server's key; it begins with "
        f"{KEY_PREFIX}; the key itself is never stored",
    )
    drain_seconds: float = Field(
        30, ge=0, le=3600, description="how long the model before stays loaded for requests that are under way"
    )
    load_seconds: float = Field(
        60, gt=0, le=3600, description="longest time that loading a model, or an answer to the probe, may take"
    )


class ServerSettings(RemoteSettings):
    """A server that answers requests in OpenAI's shape."""

    dtype: ServedPrecision | None = Field(
        None, description="precision in which the server computes; unset: the one in which the checkpoint was scored"
    )
    tolerance: float | None = Field(
        None, gt=0, le=10, description="largest difference of a token's log-prob in nats; unset: by the precision"
    )


class LoraServerSettings(ServerSettings):
    """A server that loads adapters beside each other while it runs."""

    max_lora_rank: int = Field(16, ge=1, le=1024, description="the server's --max-lora-rank")
    max_loras: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="the server's --max-loras (SGLang: --max-loras-per-batch), for a notice if a canary does not fit; "
        "servers do not tell it",
    )
    full_weights: Literal["refused", "by_restart"] = Field(
        "refused",
        description="by_restart: for full weights, a pointer in publish_folder is swapped, and the server is restarted "
        "by you; refused: no run that trains full weights may start",
    )


class VllmSettings(LoraServerSettings):
    """A vLLM server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."""

    kind: Literal["vllm"]


class SglangSettings(LoraServerSettings):
    """An SGLang server with --enable-lora."""

    kind: Literal["sglang"]


class TransformersSettings(ServerSettings):
    """`transformers serve`: every request names a folder; adapters are merged into their base model."""

    kind: Literal["transformers"]


class FolderSettings(PublishingSettings):
    """A symbolic link in the publish folder, for any other server; it is swapped atomically."""

    kind: Literal["folder"]
    adapters: Literal["merged", "as_they_are"] = Field(
        "merged", description="merged: the folder holds whole models; as_they_are: an adapter's own two files"
    )


class WebhookTargetSettings(RemoteSettings):
    """An endpoint of yours at `url`, which is asked to serve a published folder and answers by which name."""

    kind: Literal["webhook"]
    adapters: Literal["merged", "as_they_are"] = Field(
        "merged", description="merged: the folder holds whole models; as_they_are: an adapter's own two files"
    )


TargetSettings = Annotated[
    VllmSettings | SglangSettings | TransformersSettings | FolderSettings | WebhookTargetSettings,
    Discriminator("kind"),
]


class NewServingTarget(Body):
    name: Slug
    settings: TargetSettings
    enabled: bool = Field(default=True, description="false: store it and leave the server alone")


class ServingTargetChange(Body):
    settings: TargetSettings | None = Field(
        None, description="replace the stored ones whole; what was seen before is forgotten"
    )
    enabled: bool | None = None


class ProbeResult(BaseModel):
    """Log-probs of fixed prompts from the server, beside those of the scorer."""

    verdict: ProbeVerdict
    checkpoint_id: UUID
    way: Literal["log_probs", "greedy", "none"] = Field(
        description="greedy: the server gives no log-probs, so its most probable continuations were compared; none: "
        "nothing could be compared"
    )
    tokens: int = Field(0, description="tokens, or continuations, that were compared")
    max_nats: float | None = Field(None, description="largest difference of a token to the checkpoint, in nats")
    mean_nats: float | None = None
    base_max_nats: float | None = Field(
        None, description="to the model without the checkpoint: its base model, or for full weights the reference"
    )
    base_mean_nats: float | None = None
    agreeing: int | None = Field(None, description="of greedy continuations: those that are the checkpoint's")
    base_agreeing: int | None = None
    tolerance: float | None = None
    told_apart: bool = Field(
        default=True, description="false: checkpoint and base model differ by less than the probe can tell"
    )
    reason: str = ""
    at: datetime


class ServedCanary(BaseModel):
    """The canary at a target, beside the live checkpoint."""

    state: CanaryState = Field(
        description="left_out: it is not loaded there, for the reason; ending: there is no canary any more, and the "
        "target may still have it; the others as of the live checkpoint"
    )
    reason: str | None = Field(description="why it is not served")
    desired_checkpoint_id: UUID | None = Field(description="the canary's checkpoint, by the ledger")
    share: float | None = Field(description="of the actors that get it")
    seen_checkpoint_id: UUID | None = Field(description="the one that was seen to be served, and passed the probe")
    model: str | None = Field(description="the name by which requests get what was seen; for a folder its path")
    probe: ProbeResult | None
    seen_at: datetime | None
    in_step: bool = Field(description="whether desired and seen agree, or it is left out")
    differs_since: datetime | None
    alarm: bool
    attempts: int = Field(description="attempts in a row that failed")


class ServingTarget(BaseModel):
    """A target: its settings, what it should serve, and what it was last seen to serve.

    `canary` is about the canary. All other fields are about the live checkpoint, but for `in_step`, `differs_since` and
    `alarm`, which are about both.
    """

    id: UUID
    project: str
    name: str
    kind: TargetKind
    settings: TargetSettings
    enabled: bool
    state: TargetState = Field(
        description="of the live checkpoint there: new: not looked at yet; away: the server does not answer; failed: "
        "it refused the checkpoint, or the probe did; what was seen stays"
    )
    reason: str | None = Field(description="why it does not serve the live checkpoint yet")
    desired_checkpoint_id: UUID = Field(description="the live checkpoint, by the ledger")
    seen_checkpoint_id: UUID | None = Field(description="the last one that was seen to be served, and passed the probe")
    model: str | None = Field(description="the name by which requests get what was seen; for a folder its path")
    url: str | None = Field(description="base URL in OpenAI's shape; null for a folder")
    probe: ProbeResult | None
    seen_at: datetime | None = Field(description="when it was last seen to serve it")
    age_seconds: float | None = Field(description="seconds since then")
    in_step: bool = Field(
        description="whether desired and seen agree, of the canary too, and the last look found the target so"
    )
    differs_since: datetime | None = Field(
        description="since when it does not serve the live checkpoint, or the canary"
    )
    alarm: bool = Field(description="whether it has differed for more than five minutes")
    attempts: int = Field(description="attempts in a row that failed")
    next_try_at: datetime | None = Field(description="when it is looked at next")
    draining: list[str] = Field(description="models before, which are unloaded after the grace time")
    canary: ServedCanary | None = Field(None, description="null: there is none, by the ledger and at the target")
    notices: list[str] = Field([], description="what this target would refuse of the project's recipe, with remedies")
    created_at: datetime
    created_by: str


class Serving(BaseModel):
    """The live checkpoint and the canary, and each target's."""

    project: str
    checkpoint_id: UUID = Field(description="the live checkpoint, by the ledger")
    release: int = Field(description="number of its release")
    released_at: datetime
    canary: Release | None = Field(None, description="what a share of the actors gets instead")
    targets: list[ServingTarget]
    in_step: bool = Field(description="whether every enabled target serves it, and the canary unless it is left out")
    targets_differ: bool = Field(description="whether two enabled targets serve different live checkpoints")
