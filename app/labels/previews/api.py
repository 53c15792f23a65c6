"""Previews of label policies, and explanations of labels, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope
from thumbwheel import wire

from app.labels.previews import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction, reads_whole_log

#: Both show prompts and completions.
Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]
LABEL = "/label"


class BelowCompletion(APIRoute):
    """A route that matches the raw path: an id that ends with ``/label`` is sent as ``%2Flabel`` and does not match."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw: bytes = scope.get("raw_path") or LABEL.encode()
        if scope["type"] == "http" and not raw.endswith(LABEL.encode()):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(tags=["labels"])
below_completion = APIRouter(tags=["labels"], route_class=BelowCompletion)


@router.post(
    "/v1/label-policies/preview",
    operation_id="preview_label_policy",
    summary="Preview a label policy",
    response_model=wire.Preview,
    responses=problems(404, 409),
)
@reads_whole_log
def preview_label_policy(new: wire.NewPreview, session: Transaction, at: Reader) -> wire.Preview:
    """Compares a policy with the one in use on past feedback: counts, completions whose label flips, and signals
    without a rule. Nothing is changed. A log of a million events takes seconds."""
    return service.preview(session, at.project, new)


@below_completion.get(
    "/v1/completions/{completion_id:path}" + LABEL,
    operation_id="explain_label",
    summary="Explain a completion's label",
    response_model=wire.LabelExplanation,
    responses=problems(404),
)
def explain_label(
    session: Transaction, at: Reader, completion_id: Annotated[wire.Name, Path()]
) -> wire.LabelExplanation:
    """Explains the label that the policy in use gives, for the person who sent feedback: each signal, its verdict,
    whether it counts, and why not."""
    return service.explain(session, at.project, completion_id)
