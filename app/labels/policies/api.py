"""Label policies over HTTP: their versions, and which of them labels are given by."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from thumbwheel import wire

from app.labels.policies import service
from app.projects.scoped import Scoped, scoped
from app.schema import Page
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["labels"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]
Admin = Annotated[Scoped, Depends(scoped("admin"))]
Version = Annotated[int, Path(ge=0, le=service.MOST_VERSIONS, description="0 is the default of the server")]


@router.post(
    "/v1/label-policies",
    operation_id="create_label_policy",
    summary="Store a label policy",
    status_code=201,
    response_model=wire.StoredLabelPolicy,
    responses={
        200: {"model": wire.StoredLabelPolicy, "description": "The project has this policy; its version"},
        **problems(404),
    },
)
def create_label_policy(
    new: wire.NewLabelPolicy, response: Response, session: Transaction, at: Admin
) -> wire.StoredLabelPolicy:
    """A new version, which changes no label until it is adopted. What is left out of the document is the default."""
    stored, new_version = service.create(session, at.project, new, at.by)
    response.status_code = 201 if new_version else 200
    return stored


@router.get(
    "/v1/label-policies",
    operation_id="list_label_policies",
    summary="List label policies",
    response_model=Page[wire.StoredLabelPolicy],
    responses=problems(404),
)
def list_label_policies(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.StoredLabelPolicy]:
    """The newest version first; the last one, 0, is the default of the server."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/label-policies/adopted",
    operation_id="get_adopted_label_policy",
    summary="Show the label policy in use",
    response_model=wire.StoredLabelPolicy,
    responses=problems(404),
)
def get_adopted_label_policy(session: Transaction, at: Reader) -> wire.StoredLabelPolicy:
    """What labels are given by now."""
    return service.adopted(session, at.project)


@router.get(
    "/v1/label-policies/adoptions",
    operation_id="list_label_policy_adoptions",
    summary="List adoptions of label policies",
    response_model=Page[wire.LabelPolicyAdoption],
    responses=problems(404),
)
def list_label_policy_adoptions(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.LabelPolicyAdoption]:
    """The ledger, newest first; empty while no other policy than the default was ever adopted."""
    return service.history(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/label-policies/{version}",
    operation_id="get_label_policy",
    summary="Show a label policy",
    response_model=wire.StoredLabelPolicy,
    responses=problems(404),
)
def get_label_policy(version: Version, session: Transaction, at: Reader) -> wire.StoredLabelPolicy:
    """A version's whole document, every default spelt out."""
    return service.get(session, at.project, version)


@router.post(
    "/v1/label-policies/{version}/adopt",
    operation_id="adopt_label_policy",
    summary="Adopt a label policy",
    status_code=201,
    response_model=wire.LabelPolicyAdoption,
    responses=problems(404, 409),
)
def adopt_label_policy(
    version: Version, new: wire.NewAdoption, session: Transaction, at: Admin
) -> wire.LabelPolicyAdoption:
    """Labels are given by it from now on; to go back, adopt the earlier version. Preview it before."""
    return service.adopt(session, at.project, version, new.reason, at.by)
