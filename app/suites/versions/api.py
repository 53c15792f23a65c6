"""A project's suites over HTTP: their versions, and which of them every evaluation runs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from thumbwheel import wire

from app.pages import MAX_INT4, Page
from app.projects.project_of_request import Scoped, scoped
from app.suites.versions import service
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["suites"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]
Admin = Annotated[Scoped, Depends(scoped("admin"))]
SuiteName = Annotated[str, Path(min_length=1, max_length=128, pattern="^[^\x00]*$")]
Version = Annotated[int, Path(ge=0, le=MAX_INT4, description="0: it comes with the server")]


@router.post(
    "/v1/suites",
    operation_id="create_suite",
    summary="Store a suite",
    status_code=201,
    response_model=wire.SuiteVersion,
    responses={
        200: {"model": wire.SuiteVersion, "description": "The existing version: the project has this suite"},
        **problems(404),
    },
)
def create_suite(new: wire.NewSuite, response: Response, session: Transaction, at: Admin) -> wire.SuiteVersion:
    """Stores the next version of the suite of this name. No evaluation runs it until it is adopted."""
    stored, new_version = service.create(session, at.project, new, at.by)
    response.status_code = 201 if new_version else 200
    return stored


@router.get(
    "/v1/suites",
    operation_id="list_suites",
    summary="List suites",
    response_model=Page[wire.SuiteVersion],
    responses=problems(404),
)
def list_suites(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.SuiteVersion]:
    """Lists the versions by name, each name's newest first, without their documents."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/suites/adopted",
    operation_id="list_adopted_suites",
    summary="List the suites in use",
    response_model=list[wire.SuiteVersion],
    responses=problems(404),
)
def list_adopted_suites(session: Transaction, at: Reader) -> list[wire.SuiteVersion]:
    """Lists the suites that the evaluation of a run runs if the run is requested now; 20 at most."""
    return service.adopted(session, at.project)


@router.get(
    "/v1/suites/adoptions",
    operation_id="list_suite_adoptions",
    summary="List adoptions of suites",
    response_model=Page[wire.SuiteAdoption],
    responses=problems(404),
)
def list_suite_adoptions(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.SuiteAdoption]:
    """Lists which suites were adopted and dropped, newest first."""
    return service.history(session, at.project, cursor=cursor, limit=limit)


@router.post(
    "/v1/suites/adoptions",
    operation_id="adopt_suite",
    summary="Adopt or drop a suite",
    status_code=201,
    response_model=wire.SuiteAdoption,
    responses=problems(404, 409),
)
def adopt_suite(new: wire.NewSuiteAdoption, session: Transaction, at: Admin) -> wire.SuiteAdoption:
    """Makes runs that are requested from now on run this version of the suite, or no version of it."""
    return service.decide(session, at.project, new, at.by)


@router.get(
    "/v1/suites/{name:path}/versions/{version}",
    operation_id="get_suite",
    summary="Show a suite",
    response_model=wire.StoredSuite,
    responses=problems(404),
)
def get_suite(name: SuiteName, version: Version, session: Transaction, at: Reader) -> wire.StoredSuite:
    """Returns a version with its whole document."""
    return service.get(session, at.project, name, version)
