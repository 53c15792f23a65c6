"""Limits on completions by the gateway, of keys and projects."""

import pytest
from openai import OpenAI, RateLimitError
from thumbwheel import wire

from app.access import service as access
from app.database import transaction
from app.projects import service as projects
from tests.desk import DESK
from tests.gateway.conftest import HTTP, Served


def limit(**limits: int) -> None:
    with transaction() as session:
        projects.change(session, DESK, wire.ProjectChange.model_validate({"limits": limits}))


def make_key(**limits: int) -> str:
    new = {"name": "t", "scopes": ["gateway:use"], "project": DESK, "limits": limits}
    with transaction() as session:
        return access.create_key(session, wire.NewKey.model_validate(new), within=None).secret


def ask(served: Served, actor: str | None, **more: object) -> object:
    return served.post(**({} if actor is None else {"user": actor}), **more)


def test_completions_count_for_the_actor_and_the_project_and_feedback_limits_do_not_count_them(serve):
    served = serve("a")
    limit(gateway_per_minute=5, gateway_actor_per_minute=2, per_minute=1)

    answers = [ask(served, actor) for actor in ("ann", "ann", "ann", "bob", None, None, None)]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"project-gateway";q=5;w=60, "project-gateway-actor";q=2;w=60'
    assert answers[0].headers["RateLimit"].startswith('"project-gateway";r=4;t=')
    refused = answers[2]
    assert (refused.json()["error"]["code"], refused.json()["error"]["type"]) == ("rate_limited", "rate_limit_error")
    assert "This actor has asked for 2 completions within a minute" in refused.json()["error"]["message"]
    assert 0 < int(refused.headers["Retry-After"]) <= 120
    assert "This project has asked for 5 completions" in answers[-1].json()["error"]["message"]


def test_a_key_has_limits_of_its_own_and_every_choice_is_counted(serve):
    served = serve("a")
    with OpenAI(base_url=f"{served.url}/v1", api_key=make_key(gateway_per_minute=3), max_retries=0) as client:
        messages = [{"role": "user", "content": "Where is it?"}]
        client.chat.completions.create(model=DESK, messages=messages, n=3)

        with pytest.raises(RateLimitError) as refused:
            client.chat.completions.create(model=DESK, messages=messages)

    assert refused.value.code == "rate_limited"
    assert ask(served, "ann").status_code == 200
    assert HTTP.get(f"{served.url}/readyz").json()["limits"] == "enforced"
