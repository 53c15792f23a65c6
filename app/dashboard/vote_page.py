"""The page of a vote link. Opening it stores nothing, as scanners of mails open links too; its form stores the vote."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse
from thumbwheel import wire

from app.capacity import Lane
from app.dashboard.html import HEADERS, rendered
from app.errors import Conflict, Fault, Invalid, RateLimited, ThumbwheelError
from app.feedback.ingest.receiver import Receiver
from app.feedback.vote_links import service
from app.feedback.vote_links.tokens import VoteToken
from app.projects import service as projects
from app.projects.admission import FeedbackRules, rules_of_project
from app.web.bodies import whole
from app.web.problems import error_response

router = APIRouter(include_in_schema=False)

#: The form has one short field.
MOST_FORM_BYTES = 1024
PAGE_HEADERS = {
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace("form-action 'none'", "form-action 'self'"),
    "X-Robots-Tag": "noindex",
}
ALREADY = "event_id_taken"
#: What a voter reads where the error speaks to an operator.
FOR_VOTERS = {
    409: "This vote can no longer be given.",
    429: "There are too many votes just now. Please try again in a minute.",
    503: "The server is busy. Please try again in a moment.",
}

Token = Annotated[str, Path()]


@router.api_route("/vote/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
async def vote_page(request: Request, token: Token) -> HTMLResponse:
    try:
        await _require_valid(request, token)
    except ThumbwheelError as error:
        return _refusal(error)
    return _page("form", 200)


@router.post("/vote/{token}", response_class=HTMLResponse)
async def vote(request: Request, token: Token) -> HTMLResponse:
    receiver: Receiver = request.app.state.receiver
    try:
        valid = await _require_valid(request, token)
        event = service.event_of(valid, _thumb(await whole(request.receive, MOST_FORM_BYTES)))
        await receiver.store(valid.project, event, await _rules(request, valid.project))
    except Conflict as error:
        return _page("already", 409) if error.code == ALREADY else _refusal(error)
    except ThumbwheelError as error:
        return _refusal(error)
    return _page("thanks", 200)


async def _require_valid(request: Request, token: str) -> VoteToken:
    lane: Lane = request.app.state.hot_lane
    return await lane.run(lambda session: service.require_valid(session, token))


async def _rules(request: Request, project: str) -> FeedbackRules | None:
    lane: Lane = request.app.state.hot_lane
    return await lane.run(lambda session: rules_of_project(projects.get(session, project)))


def _thumb(form: bytes | None) -> wire.Thumbs:
    values = parse_qs((form or b"").decode("latin-1")).get("value")
    if values not in (["up"], ["down"]):
        raise Invalid("Press one of the two buttons.", code="no_vote", faults=[Fault("value", "is not up or down")])
    value: Literal["up", "down"] = "up" if values == ["up"] else "down"
    return wire.Thumbs(value=value)


def _refusal(error: ThumbwheelError) -> HTMLResponse:
    status = error_response(error).status_code
    more = error.headers if isinstance(error, RateLimited) else {}
    return _page("refused", status, FOR_VOTERS.get(status, error.message), more)


def _page(state: str, status: int, message: str = "", more: Mapping[str, str] = MappingProxyType({})) -> HTMLResponse:
    return rendered("vote.html", status=status, headers={**PAGE_HEADERS, **more}, state=state, message=message)
