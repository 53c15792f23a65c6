"""Gates over HTTP: their versions, and which version is adopted."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from thumbwheel import wire

from app.access.caller import Caller, may
from app.gates import service
from app.gates.presets import PRESETS
from app.pages import MAX_INT4, Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["gates"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]
Admin = Annotated[Scoped, Depends(scoped("admin"))]
Version = Annotated[int, Path(ge=1, le=MAX_INT4)]


@router.post(
    "/v1/gates",
    operation_id="create_gates",
    summary="Store gates",
    status_code=201,
    response_model=wire.StoredGates,
    responses={
        200: {"model": wire.StoredGates, "description": "The existing version: the project has this document"},
        **problems(404),
    },
)
def create_gates(new: wire.NewGates, response: Response, session: Transaction, at: Admin) -> wire.StoredGates:
    """Stores a new version. It judges no run until it is adopted. Omitted fields of the document have defaults."""
    stored, new_version = service.create(session, at.project, new, at.by)
    response.status_code = 201 if new_version else 200
    return stored


@router.get(
    "/v1/gates",
    operation_id="list_gates",
    summary="List gates",
    response_model=Page[wire.StoredGates],
    responses=problems(404),
)
def list_gates(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.StoredGates]:
    """Lists the versions, the newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/gates/presets",
    operation_id="list_gate_presets",
    summary="List the presets of gates",
    response_model=list[wire.GateDocument],
    responses=problems(),
)
def list_gate_presets(_: Annotated[Caller, Depends(may("runs:read"))]) -> list[wire.GateDocument]:
    """Returns the documents that come with this server, which `gates` may name."""
    return list(PRESETS.values())


@router.get(
    "/v1/gates/adopted",
    operation_id="get_adopted_gates",
    summary="Show the gates in use",
    response_model=wire.StoredGates,
    responses=problems(404),
)
def get_adopted_gates(session: Transaction, at: Reader) -> wire.StoredGates:
    """Returns the version that new runs are judged by."""
    return service.adopted(session, at.project)


@router.get(
    "/v1/gates/adoptions",
    operation_id="list_gate_adoptions",
    summary="List adoptions of gates",
    response_model=Page[wire.GatesAdoption],
    responses=problems(404),
)
def list_gate_adoptions(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.GatesAdoption]:
    """Lists the adoptions, newest first."""
    return service.history(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/gates/{version}",
    operation_id="get_gates",
    summary="Show a version of the gates",
    response_model=wire.StoredGates,
    responses=problems(404),
)
def get_gates(version: Version, session: Transaction, at: Reader) -> wire.StoredGates:
    """Returns a version's whole document, with every default."""
    return service.get(session, at.project, version)


@router.post(
    "/v1/gates/{version}/adopt",
    operation_id="adopt_gates",
    summary="Adopt gates",
    status_code=201,
    response_model=wire.GatesAdoption,
    responses=problems(404, 409),
)
def adopt_gates(version: Version, new: wire.NewGatesAdoption, session: Transaction, at: Admin) -> wire.GatesAdoption:
    """Adopts a version: new runs are judged by it. Requested runs keep theirs. To go back, adopt the earlier one."""
    return service.adopt(session, at.project, version, new.reason, at.by)
