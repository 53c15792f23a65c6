"""Redaction before storage and hashed actors, by every way in which feedback comes."""

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app import settings
from app.database import transaction
from app.feedback.import_jobs import job

KEY = "k" * 40
MAIL, CARD = "ann.lee@example.com", "4111111111111111"
ACTOR = "user-77-of-ours"
PAGE = "https://shop.example.com"
CHAT = [
    {"role": "system", "content": f"Customer {MAIL}"},
    {"role": "user", "name": MAIL, "content": [{"type": "text", "text": MAIL}, {"type": "file", "id": MAIL}]},
    {
        "role": "assistant",
        "content": None,
        "reasoning": MAIL,
        "tool_calls": [{"id": "t1", "function": {"name": "look", "arguments": f'{{"card": {CARD}}}'}}],
    },
    {"role": "tool", "tool_call_id": "t1", "content": f"{MAIL} pays"},
]


@pytest.fixture(autouse=True)
def pseudonym_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", KEY)
    settings.current.cache_clear()
    yield
    monkeypatch.undo()
    settings.current.cache_clear()


def event(**more: Any) -> dict[str, Any]:
    thumb = {"kind": "thumbs", "value": "up"}
    return {"event_id": f"e-{uuid4().hex[:8]}", "completion_id": "c1", "actor": ACTOR, "signal": thumb, **more}


def full_event(**more: Any) -> dict[str, Any]:
    return event(
        **{"prompt": CHAT, "completion": f"Ask {MAIL}", "metadata": {"from": [MAIL], "card": int(CARD)}, **more}
    )


def change(api: TestClient, **sections: Any) -> dict[str, Any]:
    answer = api.patch("/v1/projects/acme", json=sections)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def mask(api: TestClient, *kinds: str) -> dict[str, Any]:
    return change(api, redaction={"mode": "mask", "kinds": list(kinds) or None})


def everything() -> str:
    """Returns all rows of all tables as text."""
    with transaction(read_only=True) as session:
        tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        return "\n".join(
            str(row) for table in tables for row in session.scalars(text(f"SELECT to_json(t)::text FROM {table} AS t"))
        )


def stored(api: TestClient, **query: str) -> list[dict[str, Any]]:
    answer = api.get("/v1/feedback", params={"project": "acme", **query})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def send_single(api: TestClient) -> Any:
    return api.post("/v1/feedback?project=acme", json=full_event(prompt=f"I am {MAIL}"))


def send_unusual(api: TestClient) -> Any:
    return api.post("/v1/feedback?project=acme", json=full_event())


def send_batch(api: TestClient) -> Any:
    return api.post("/v1/feedback/batch?project=acme", json=[full_event(), event(signal={"kind": "copy"})])


def send_lines(api: TestClient) -> Any:
    lines = b"\n".join(json.dumps(full_event()).encode() for _ in range(2))
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    return api.post("/v1/feedback/batch?project=acme", content=gzip.compress(lines), headers=headers)


def send_without_id(api: TestClient) -> Any:
    sent = event(signal={"kind": "comment", "text": f"call {MAIL}"})
    return api.post("/v1/feedback?project=acme", json={name: sent[name] for name in sent if name != "event_id"})


def send_edit(api: TestClient) -> Any:
    return api.post("/v1/feedback?project=acme", json=event(signal={"kind": "edit", "text": f"Dear {MAIL}"}))


def send_comparison(api: TestClient) -> Any:
    preference = {"kind": "preference", "rejected": f"No, {MAIL}"}
    return api.post("/v1/feedback?project=acme", json=full_event(signal=preference))


def register(api: TestClient) -> Any:
    return api.put("/v1/completions/c1?project=acme", json=completion())


def register_many(api: TestClient) -> Any:
    items = [{"completion_id": f"c{number}", **completion()} for number in range(2)]
    return api.post("/v1/completions/batch?project=acme", json=items)


def completion() -> dict[str, Any]:
    return {
        "prompt": {"messages": CHAT, "tools": [{"name": "look", "description": MAIL}]},
        "completion": {"role": "assistant", "content": MAIL, "reasoning_content": MAIL},
        "sampling": {"stop": MAIL}, "metadata": {"who": MAIL}, "token_ids": [1], "log_probs": [-1.0],
    }  # fmt: skip


def send_from_a_page(api: TestClient) -> Any:
    new = {"name": "page", "scopes": ["feedback:write"], "project": "acme", "origins": [PAGE]}
    secret = api.post("/v1/keys", json=new).json()["secret"]
    headers = {"Authorization": f"Bearer {secret}", "Origin": PAGE}
    return api.post(
        "/v1/feedback", headers=headers, json=event(signal={"kind": "comment", "text": MAIL}, metadata={"a": MAIL})
    )


def vote(api: TestClient) -> Any:
    new = {"completion_id": "c1", "actor": ACTOR}
    link = api.post("/v1/vote-links?project=acme", json=new).json()
    return api.post(urlsplit(link["url"]).path, data={"value": "up"}, headers={"Authorization": ""})


def copy(api: TestClient, project: str = "acme") -> Any:
    at = {"received_at": "2026-01-01T00:00:00Z"}
    completion = {"completion_id": "c9", "prompt": MAIL, "completion": f"Hi {MAIL}", "token_ids": [1]}
    rows = [{**full_event(), "position": 1, **at}, {**completion, "position": 2, **at}]
    body = "\n".join(map(json.dumps, rows)).encode()
    return api.post(f"/v1/log?project={project}", content=body, headers={"Content-Type": "application/x-ndjson"})


WAYS = [
    send_single, send_unusual, send_batch, send_lines, send_without_id, send_edit, send_comparison, register,
    register_many, send_from_a_page, vote, copy,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_by_no_way_does_anything_unmasked_or_an_actors_own_id_come_into_postgres_or_the_log_of_the_server(
    api: TestClient, caplog: pytest.LogCaptureFixture, way: Callable[[TestClient], Any]
) -> None:
    change(api, redaction={"mode": "mask"}, actors="hashed")

    answer = way(api)

    assert answer.status_code in (200, 201), answer.text
    rows = everything()
    for value in (MAIL, CARD, ACTOR):
        assert value not in rows
        assert value not in caplog.text
    assert way is vote or "[EMAIL_" in rows
    assert way in (register, register_many) or "h_" in rows


def test_a_change_holds_at_once_in_a_process_that_has_stored_by_the_setting_before(api: TestClient) -> None:
    assert send_single(api).status_code == 201
    assert MAIL in everything()
    before = len(stored(api))

    assert mask(api, "email")["redaction"] == {"mode": "mask", "kinds": ["email"]}
    send_single(api)
    change(api, redaction={"mode": "off"})
    send_single(api)

    prompts = [item["prompt"] for item in stored(api)]
    assert (before, len(prompts)) == (1, 3)
    assert [prompt == f"I am {MAIL}" for prompt in prompts] == [True, False, True]


def test_a_retry_is_a_replay_whatever_was_switched_on_off_or_changed_in_between(api: TestClient) -> None:
    events = [full_event(), full_event(prompt=MAIL, completion="ok"), event(event_id="e3", metadata={"a": CARD})]
    completion = {"prompt": MAIL, "completion": f"{MAIL} {CARD}", "token_ids": [1, 2]}
    settings_in_turn: list[dict[str, Any]] = [
        {"redaction": {"mode": "off"}},
        {"redaction": {"mode": "mask", "kinds": ["email"]}},
        {"redaction": {"mode": "mask", "kinds": ["email", "card"]}, "actors": "hashed"},
        {"redaction": {"mode": "reject"}},
        {"redaction": {"mode": "off"}},
        {"actors": "plain"},
    ]

    def send_all() -> list[str]:
        receipt = api.post("/v1/feedback/batch?project=acme", json=events).json()
        registered = api.put("/v1/completions/c7?project=acme", json=completion).json()
        many = [{"completion_id": "c7", **completion}]
        again = api.post("/v1/completions/batch?project=acme", json=many).json()
        assert again["items"][0]["status"] == "replayed"
        return [*(item["status"] for item in receipt["items"]), registered["status"]]

    for first, later in ((0, (1, 2, 3, 4, 5)), (2, (3, 4, 5, 0, 1))):
        for each in events:
            each["event_id"] = f"{each['event_id']}-{first}"
        change(api, **settings_in_turn[first])
        statuses = send_all()
        assert statuses == ["stored"] * 3 + ["stored" if first == 0 else "replayed"]
        for number in later:
            change(api, **settings_in_turn[number])
            assert send_all() == ["replayed"] * 4, settings_in_turn[number]
    other = {**events[1], "prompt": "zoe@example.org"}
    assert api.post("/v1/feedback?project=acme", json=other).status_code == 409


def test_a_refusal_names_the_field_and_the_kinds_and_never_the_value(api: TestClient) -> None:
    change(api, redaction={"mode": "reject", "kinds": ["email", "card"]})
    clean = event(prompt="Hello", completion="Hi")

    one = api.post("/v1/feedback?project=acme", json=full_event())
    batch = api.post("/v1/feedback/batch?project=acme", json=[clean, full_event(), event(metadata={"n": int(CARD)})])
    registered = register(api)
    new = {"project": "other", "base_model": "/m", "suites": [], "redaction": {"mode": "reject"}}
    assert api.post("/v1/projects", json=new).status_code == 201
    copied = copy(api, "other")

    assert (one.status_code, one.json()["code"], one.json()["details"]["kinds"]) == (
        422,
        "personal_data",
        ["card", "email"],
    )
    pointers = [fault["pointer"] for fault in one.json()["errors"]]
    assert {"/prompt/0/content", "/prompt/1/name", "/prompt/2/tool_calls/0/function/arguments/card"} <= {*pointers}
    assert batch.status_code == 207
    assert [item["status"] for item in batch.json()["items"]] == ["stored", "invalid", "invalid"]
    assert batch.json()["items"][2]["pointer"] == "/metadata/n"
    assert "holds card" in batch.json()["items"][2]["error"]
    assert (registered.status_code, copied.status_code) == (422, 422)
    assert not any(value in answer.text for value in (MAIL, CARD) for answer in (one, batch, registered, copied))
    assert MAIL not in everything()


def test_an_actor_is_found_by_its_id_whether_events_are_stored_by_it_or_by_its_hash(api: TestClient) -> None:
    api.post("/v1/feedback?project=acme", json=event(event_id="before"))
    change(api, actors="hashed")
    api.post("/v1/feedback?project=acme", json=event(event_id="after"))

    found = stored(api, actor=ACTOR)
    [hashed, plain] = [item["actor"] for item in found]

    assert [item["event_id"] for item in found] == ["after", "before"]
    assert plain == ACTOR
    assert hashed.startswith("h_")
    assert [item["event_id"] for item in stored(api, actor=hashed)] == ["after"]
    decision = {"actor": ACTOR, "decision": "confirmed", "reason": "spam"}
    decided = api.post("/v1/quarantine/decisions?project=acme", json=decision).json()
    decisions = api.get("/v1/quarantine/decisions", params={"project": "acme", "actor": ACTOR}).json()["items"]
    assert decided["actor"] == hashed
    assert {item["actor"] for item in decisions} == {hashed, plain}


def test_an_assignment_to_a_canary_is_the_same_before_and_after_actors_are_hashed(api: TestClient) -> None:
    def assigned() -> list[Any]:
        actors = [{"project": "acme", "actor": f"u{number}"} for number in range(5)]
        return [api.get("/v1/releases/assignment", params=query).json() for query in actors]

    before = assigned()
    change(api, actors="hashed")

    assert assigned() == before


def test_limits_of_an_actor_hold_by_the_callers_id(api: TestClient) -> None:
    change(api, actors="hashed", limits={"actor_per_minute": 2})

    # What a process knows of a key may be a second old: this one is new. A minute may end in between: 2 + 2 + 1.
    key = api.post("/v1/keys", json={"name": "new", "scopes": ["feedback:write"], "project": "acme"}).json()["secret"]
    headers = {"Authorization": f"Bearer {key}"}
    statuses = [api.post("/v1/feedback", headers=headers, json=event()).status_code for _ in range(5)]

    assert statuses[:2] == [201, 201]
    assert 429 in statuses


def test_a_copied_log_keeps_its_placeholders_and_hashes(api: TestClient) -> None:
    change(api, redaction={"mode": "mask"}, actors="hashed")
    send_single(api)
    register(api)
    lines = [api.get(f"/v1/log/{kind}", params={"project": "acme"}).text for kind in ("events", "completions")]
    new = {"project": "copy", "base_model": "/m", "suites": [], "redaction": {"mode": "mask"}, "actors": "hashed"}
    assert api.post("/v1/projects", json=new).status_code == 201

    copied = api.post("/v1/log?project=copy", content="".join(lines), headers={"Content-Type": "application/x-ndjson"})

    assert copied.json()["stored"] == 2, copied.text
    again = [api.get(f"/v1/log/{kind}", params={"project": "copy"}).text for kind in ("events", "completions")]
    assert again == lines


def test_without_a_key_pseudonyms_are_refused_with_the_remedy_and_refusing_is_not(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THUMBWHEEL_PSEUDONYM_KEY")
    settings.current.cache_clear()

    masked = api.patch("/v1/projects/acme", json={"redaction": {"mode": "mask"}})
    hashed = api.patch("/v1/projects/acme", json={"actors": "hashed"})
    unknown = api.patch("/v1/projects/acme", json={"redaction": {"mode": "reject", "kinds": ["email", "shoe_size"]}})
    rejecting = api.patch("/v1/projects/acme", json={"redaction": {"mode": "reject"}})

    assert (masked.status_code, masked.json()["code"], hashed.status_code) == (409, "no_pseudonym_key", 409)
    assert "THUMBWHEEL_PSEUDONYM_KEY" in masked.json()["detail"]
    assert unknown.json()["errors"][0]["pointer"] == "/redaction/kinds/1"
    assert rejecting.status_code == 200
    assert send_single(api).status_code == 422


def test_a_process_with_another_key_stores_nothing_where_pseudonyms_are_made_and_says_so(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask(api)
    new = {"project": "other", "base_model": "/m", "suites": []}
    assert api.post("/v1/projects", json=new).status_code == 201
    monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", "x" * 40)
    settings.current.cache_clear()

    refused = send_single(api)
    batch = send_batch(api)
    ready = api.get("/readyz")
    elsewhere = api.post("/v1/feedback?project=other", json=event())
    switched_on = api.patch("/v1/projects/other", json={"actors": "hashed"})
    switched_off = api.patch("/v1/projects/acme", json={"redaction": {"mode": "off"}})
    replaced = api.patch("/v1/projects/other", json={"actors": "hashed"})

    assert [answer.status_code for answer in (refused, batch, ready)] == [503, 503, 503]
    assert {answer.json()["code"] for answer in (refused, batch, ready)} == {"pseudonym_key"}
    assert (elsewhere.status_code, switched_on.status_code, switched_on.json()["code"]) == (
        201, 409, "other_pseudonym_key",
    )  # fmt: skip
    assert (switched_off.status_code, replaced.status_code) == (200, 200)
    assert api.get("/readyz").status_code == 200


def test_findings_are_counted_by_kind_and_mode(api: TestClient) -> None:
    mask(api, "email")
    send_edit(api)
    change(api, redaction={"mode": "reject", "kinds": ["email"]})
    send_edit(api)

    figures = api.get("/metrics").text

    for mode in ("mask", "reject"):
        assert f'thumbwheel_redaction_findings_total{{kind="email",mode="{mode}",project="acme"}} 1.0' in figures
    report = api.get("/v1/projects/acme/redaction").json()
    assert [(each["mode"], each["kind"], each["findings"]) for each in report["findings"]] == [("mask", "email", 1)]
    assert report["redaction"] == {"mode": "reject", "kinds": ["email"]}


def test_the_operator_log_has_the_new_settings(api: TestClient) -> None:
    shown = change(api, redaction={"mode": "mask", "kinds": ["email"]}, actors="hashed")
    [entry] = api.get("/v1/audit-log", params={"operation": "change_project"}).json()["items"]

    assert entry["about"]["redaction"] == "mask"
    assert entry["about"]["actors"] == "hashed"
    assert shown["protected_since"] is not None


# -- uploads ----------------------------------------------------------------------------------------------------------


def uploaded(api: TestClient, rows: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    """Uploads rows and does their import in this process, as a worker's process would; returns the report."""
    answer = api.post(
        "/v1/imports",
        params={"project": "acme", "name": "rows.jsonl", **parameters},
        content="".join(json.dumps(row) + "\n" for row in rows).encode(),
    )
    assert answer.status_code == 202, answer.text
    job.do(UUID(answer.json()["id"]), "a test", lambda: False)
    return dict(api.get(answer.headers["Location"], params={"project": "acme"}).json())


ROW = {"prompt": f"I am {MAIL}", "completion": f"Ask {MAIL}", "label": True, "user_id": ACTOR}


@pytest.mark.parametrize("dry_run", [False, True])
def test_nothing_of_an_upload_is_kept_unmasked_neither_in_the_log_nor_in_its_report(
    api: TestClient, dry_run: bool
) -> None:
    change(api, redaction={"mode": "mask"}, actors="hashed")

    report = uploaded(api, [ROW, {"kind": MAIL, **ROW, "signal": MAIL}], dry_run=dry_run)

    assert (report["state"], report["counts"]["stored"]) == ("done", 1), report
    assert report["counts"]["rejected"] == 1
    assert "[EMAIL]" in str(report["files"][0]["reasons"])
    assert MAIL not in everything()
    assert ACTOR not in everything()


def test_a_dry_run_counts_what_the_project_would_refuse(api: TestClient) -> None:
    change(api, redaction={"mode": "reject"})

    report = uploaded(api, [ROW, {**ROW, "prompt": "Hello?", "completion": "Hi!"}], dry_run=True)

    assert (report["counts"]["stored"], report["counts"]["rejected"]) == (1, 1)
    assert MAIL not in everything()


def test_an_upload_waits_for_the_key_of_pseudonyms_and_then_goes_on(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(api, redaction={"mode": "mask"}, actors="hashed")
    monkeypatch.delenv("THUMBWHEEL_PSEUDONYM_KEY")
    settings.current.cache_clear()

    waiting = uploaded(api, [ROW])

    assert (waiting["state"], waiting["counts"]["stored"], waiting["counts"]["rejected"]) == ("queued", 0, 0)
    assert "THUMBWHEEL_PSEUDONYM_KEY" in waiting["reason"]
    monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", KEY)
    settings.current.cache_clear()
    with transaction() as session:
        session.execute(text("UPDATE imports SET next_try_at = now()"))
    job.do(UUID(waiting["id"]), "a test", lambda: False)
    done = api.get(f"/v1/imports/{waiting['id']}", params={"project": "acme"}).json()
    assert (done["state"], done["counts"]["stored"]) == ("done", 1), done
    assert MAIL not in everything()
