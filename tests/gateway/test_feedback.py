"""A product changes one base URL, and then sends thumbs by the completion's id alone."""

import httpx
import pytest
from openai import OpenAI

from app import settings
from tests.desk import DESK, make_project
from tests.gateway.conftest import Served, add_target, live, make_key
from tests.gateway.openai_server import model_server
from tests.served import served as served_api


@pytest.fixture
def api_with_gateway(database, monkeypatch):
    monkeypatch.setenv("THUMBWHEEL_GATEWAY", "true")
    settings.current.cache_clear()
    make_project()
    with served_api() as url:
        yield url
    settings.current.cache_clear()


def test_a_thumb_by_the_id_of_an_answer_becomes_a_label(api_with_gateway):
    with model_server() as server:
        add_target("gpu", server.url, live())
        key = make_key("gateway:use", "feedback:write", "feedback:read")
        with OpenAI(base_url=f"{api_with_gateway}/v1", api_key=key) as client:
            answer = client.chat.completions.create(model=DESK, messages=[{"role": "user", "content": "Where is it?"}])
        headers = {"Authorization": f"Bearer {key}"}
        thumb = {"completion_id": answer.id, "actor": "user-7", "signal": {"kind": "thumbs", "value": "up"}}
        assert httpx.post(f"{api_with_gateway}/v1/feedback", json=thumb, headers=headers).status_code == 201
        stored = Served(api_with_gateway, key, live(), stack=None).registered(answer.id)
        label = httpx.get(f"{api_with_gateway}/v1/completions/{answer.id}/label", headers=headers).json()

    assert stored.completion == "It left this morning."
    assert label["label"] == "desirable"


def test_an_api_without_the_gateway_names_the_remedy(api):
    refused = api.post("/v1/chat/completions", json={})

    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "gateway_off")
    assert "THUMBWHEEL_GATEWAY=true" in refused.json()["error"]["message"]
