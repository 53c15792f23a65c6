"""Label policies over HTTP: their versions, and which version is adopted."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from thumbwheel import wire

from app.labels.policies import service
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
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
        200: {"model": wire.StoredLabelPolicy, "description": "The existing version: the project has this policy"},
        **problems(404),
    },
)
def create_label_policy(
    new: wire.NewLabelPolicy, response: Response, session: Transaction, at: Admin
) -> wire.StoredLabelPolicy:
    """Stores a new version. It changes no label until it is adopted. Omitted fields of the document have defaults."""
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
    """Lists the versions, the newest first; the last one, 0, is the default of the server."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/label-policies/adopted",
    operation_id="get_adopted_label_policy",
    summary="Show the label policy in use",
    response_model=wire.StoredLabelPolicy,
    responses=problems(404),
)
def get_adopted_label_policy(session: Transaction, at: Reader) -> wire.StoredLabelPolicy:
    """Returns the adopted version."""
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
    """Lists the adoptions, newest first; none if only the default policy was ever in use."""
    return service.history(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/label-policies/{version}",
    operation_id="get_label_policy",
    summary="Show a label policy",
    response_model=wire.StoredLabelPolicy,
    responses=problems(404),
)
def get_label_policy(version: Version, session: Transaction, at: Reader) -> wire.StoredLabelPolicy:
    """Returns a version's whole document, with every default."""
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
    """Adopts a version: it gives all labels from now on. Preview it first; to go back, adopt the earlier version."""
    return service.adopt(session, at.project, version, new.reason, at.by)
