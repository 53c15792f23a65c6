"""`GET /metrics`: its figures, who may read them, and what is served while Postgres is away."""

import asyncio

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from thumbwheel import wire

from app import database as app_database
from app import services, settings
from app.database import now, transaction
from app.loop import service as loop
from app.metrics import projects as project_figures
from app.metrics import scrapers
from app.projects import service as projects
from app.releases import service as releases
from app.serving import service as serving
from tests.desk import DESK, checkpoint, execute, make_project, request, vote
from tests.logged import register, store
from tests.served import served

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def scraped(api, **request):
    return read(api.get("/metrics", **request))


def read(answer):
    assert answer.status_code == 200, answer.text
    parse = open_metrics if "openmetrics" in answer.headers["content-type"] else plain_text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


def value(samples, name, **labels):
    return samples[name, frozenset({key.rstrip("_"): text for key, text in labels.items()}.items())]


def event(number, **other):
    return {
        "event_id": f"e{number}", "completion_id": f"c{number}", "actor": "user", "prompt": "Hi?", "completion": "Hi.",
        "signal": {"kind": "thumbs", "value": "up"}, **other,
    }  # fmt: skip


def test_requests_are_counted_by_the_template_of_their_route_and_the_class_of_their_status(api):
    before = scraped(api)
    api.get("/v1/releases/current", params={"project": "acme"})
    api.get("/v1/projects/acme")
    api.get("/v1/projects/nobody")
    api.post("/v1/feedback/batch", content=b"x", headers={"Authorization": "no key", "Content-Type": "text/plain"})
    after = scraped(api)

    def more(route, status, method="GET"):
        labels = {"method": method, "route": route, "status": status}
        key = ("thumbwheel_http_requests_total", frozenset(labels.items()))
        return after.get(key, 0) - before.get(key, 0)

    assert more("/v1/releases/current", "2xx") == 1
    assert more("/v1/projects/{project}", "2xx") == 1
    assert more("/v1/projects/{project}", "4xx") == 1
    assert more("/v1/feedback/batch", "4xx", "POST") == 1
    assert more("/metrics", "2xx") == 1
    count = value(after, "thumbwheel_http_request_duration_seconds_count", method="GET", route="/v1/projects/{project}")
    assert count >= 2


def test_an_event_over_a_socket_is_counted_with_its_answer(api):
    requests = {"method": "POST", "route": "/v1/feedback", "status": "2xx"}
    with served() as url, httpx.Client(base_url=url, headers={"Authorization": api.headers["Authorization"]}) as client:
        before = read(client.get("/metrics"))  # of this process, which has served other tests
        assert client.post("/v1/feedback", params={"project": "acme"}, json=event(1)).status_code == 201
        samples = read(client.get("/metrics"))

    name = "thumbwheel_http_requests_total"
    assert value(samples, name, **requests) - before.get((name, frozenset(requests.items())), 0) == 1
    bodies = {"project": "acme", "kind": "event"}
    assert value(samples, "thumbwheel_ingest_bodies_total", **bodies, outcome="stored") == 1
    assert value(samples, "thumbwheel_ingest_bodies_total", **bodies, outcome="unavailable") == 0
    assert value(samples, "thumbwheel_admitted_requests_limit", kind="whole_log") == 2
    assert value(samples, "thumbwheel_database_connections_in_use", purpose="requests") == 0
    assert value(samples, "process_open_fds") > 0


def test_a_thousand_unknown_paths_and_methods_add_no_series(api):
    api.get("/wp-0")
    api.request("PROPFIND", "/wp-0")
    before = scraped(api).keys()
    for number in range(1000):
        api.get(f"/wp-{number}")
    api.request("LOCK", "/wp-admin")
    assert scraped(api).keys() == before


def test_bodies_are_counted_by_what_became_of_them(api):
    def outcomes():
        return {
            (labels["kind"], labels["outcome"]): count
            for (name, pairs), count in scraped(api).items()
            if name == "thumbwheel_ingest_bodies_total" and count and (labels := dict(pairs))["project"] == "acme"
        }

    acme = {"project": "acme"}
    for body in (event(1), event(1), event(1, completion="Another."), {"event_id": "nothing else"}):
        api.post("/v1/feedback", params=acme, json=body)
    api.post("/v1/feedback/batch", params=acme, json=[event(2), event(3), {}])
    api.put("/v1/completions/c9", params=acme, json={"prompt": "Hi?", "completion": "Hi."})

    assert outcomes() == {
        ("event", "stored"): 3, ("event", "replayed"): 1, ("event", "conflict"): 1, ("event", "invalid"): 2,
        ("completion", "stored"): 1,
    }  # fmt: skip
    samples = scraped(api)
    assert value(samples, "thumbwheel_ingest_transaction_bodies_sum") == 6
    assert value(samples, "thumbwheel_ingest_transaction_bodies_bucket", le="1.0") == 4
    assert value(samples, "thumbwheel_ingest_transaction_duration_seconds_count") == 5
    assert value(samples, "thumbwheel_ingest_waiting_bodies") == 0
    assert value(samples, "thumbwheel_ingest_waiting_bytes") == 0


@pytest.fixture
def shipped(api, tmp_path):
    """A project with a shipped checkpoint that users like, a canary, a queued run, a target, and a webhook."""
    make_project()
    vote()
    with transaction() as session:
        change = wire.ProjectChange(monitoring=wire.MonitoringRules(live_share=0.9, live_hours=24))
        projects.change(session, DESK, change)
    made = [checkpoint(tmp_path / name) for name in ("first", "second")]
    for new in (wire.NewRelease(checkpoint_id=made[0]), wire.NewRelease(checkpoint_id=made[1], share=0.1)):
        with transaction() as session:
            releases.ship(session, DESK, new, "key test")
    for number in range(4):
        register(DESK, f"out-{number}", {"prompt": "Hi?", "completion": "Hi.", "checkpoint_id": str(made[0])})
    thumbs = [event(f"out-{number}", completion_id=f"out-{number}", actor=f"a {number}") for number in range(2)]
    store(DESK, [{**each, "checkpoint_id": str(made[0])} for each in thumbs])
    request()
    with transaction() as session:
        new = wire.NewServingTarget(
            name="nas", settings=wire.FolderSettings(kind="folder", publish_folder="/srv/models")
        )
        serving.create(session, DESK, new, "key test")
    api.post("/v1/webhooks/endpoints", params={"project": DESK}, json={"url": "https://ops.example/"})
    execute("UPDATE log_summaries SET read_at = read_at - interval '1 hour'")
    loop.tick()
    return made


def test_figures_of_projects_come_from_postgres(api, shipped):
    samples = scraped(api)

    def of(name, **labels):
        return value(samples, f"thumbwheel_{name}", project=DESK, **labels)

    assert value(samples, "thumbwheel_database_up") == 1
    assert (of("release_number", role="live"), of("release_number", role="canary")) == (2, 3)
    assert of("canary_share_ratio") == 0.1
    assert of("release_approval_ratio", role="live") == 1
    assert 0 < of("release_approval_low_ratio", role="live") < of("release_approval_high_ratio", role="live")
    assert of("release_labels", role="live", class_="desirable") == 2
    assert (of("release_outputs", role="live"), of("release_voted_ratio", role="live")) == (4, 0.5)
    assert of("release_canary_difference_low_ratio") < of("release_canary_difference_high_ratio")
    assert 0 < of("time_to_learn_seconds", quantile="0.5") <= of("time_to_learn_seconds", quantile="0.9") < 600
    assert of("unlearned_events") == 2
    assert (of("runs", state="succeeded"), of("runs", state="queued"), of("runs", state="failed")) == (2, 1, 0)
    assert of("run_queued_timestamp_seconds", waits_for="worker") == pytest.approx(now().timestamp(), abs=120)
    assert of("serving_target_in_step", target="nas", kind="folder") == 0
    assert of("serving_target_alarm", target="nas", kind="folder") == 0
    assert (of("webhook_deliveries_failed"), of("webhook_endpoints_disabled")) == (0, 0)
    assert of("quarantine_undecided_actors") == 0
    assert value(samples, "thumbwheel_last_tick_timestamp_seconds") == pytest.approx(now().timestamp(), abs=120)
    assert value(samples, "thumbwheel_release_number", project="acme", role="live") == 1


def test_a_key_of_one_project_sees_no_other_and_needs_the_scope_to_read(api, key):
    make_project()
    seen = {dict(labels).get("project") for _, labels in scraped(api, headers=key("runs:read", project=DESK))}

    assert seen == {None, DESK}
    assert {dict(labels).get("project") for _, labels in scraped(api)} == {None, DESK, "acme"}
    refused = api.get("/metrics", headers=key("feedback:write"))
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert api.get("/metrics", headers={"Authorization": "Bearer tw_unknown"}).status_code == 401


def test_open_pages_have_open_metrics(open_page):
    assert value(scraped(open_page, headers={"Authorization": ""}), "thumbwheel_database_up") == 1


@pytest.mark.parametrize(
    "accept", ["", "text/plain;version=1.0.0", "application/openmetrics-text", "text/plain;version=x"]
)
def test_every_format_that_the_library_writes_is_understood_by_its_parser(api, accept):
    assert value(scraped(api, headers={"Accept": accept}), "thumbwheel_database_up") == 1


def test_ten_scrapers_at_once_cost_one_reading(api, monkeypatch):
    readings = []

    def counted(session):
        readings.append(session)
        return project_figures.NOTHING

    monkeypatch.setattr(project_figures, "read", counted)
    metrics = api.app.state.metrics
    secret = api.headers["Authorization"].removeprefix("Bearer ")

    async def scrape():
        return await asyncio.gather(*(metrics(secret, "") for _ in range(10)))

    answers = api.portal.call(scrape)
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len(readings) == 1


@pytest.fixture
def postgres_away(api, monkeypatch):
    """A function after which new connections of `app.database` are refused."""

    def leave():
        monkeypatch.setenv("THUMBWHEEL_DATABASE_URL", f"postgresql://thumbwheel@127.0.0.1:{services.free_port()}/none")
        settings.current.cache_clear()
        app_database.forget_connections()

    yield leave
    monkeypatch.undo()
    settings.current.cache_clear()
    app_database.forget_connections()


def test_while_postgres_is_away_a_known_key_gets_the_figures_of_the_process(api, postgres_away, monkeypatch):
    assert value(scraped(api), "thumbwheel_database_up") == 1
    monkeypatch.setattr(scrapers, "REMEMBERED_SECONDS", 0)
    api.app.state.metrics._kept = None  # as after some seconds
    postgres_away()
    samples = scraped(api)

    assert value(samples, "thumbwheel_database_up") == 0
    assert value(samples, "thumbwheel_http_requests_total", method="GET", route="/metrics", status="2xx") >= 1
    assert not any(dict(labels).get("role") for _, labels in samples)
    assert api.get("/metrics", headers={"Authorization": "Bearer tw_new"}).status_code == 503


def test_odd_characters_in_a_label_reach_the_parser(api):
    odd = 'back\\slash "quote"\nline ü'
    api.app.state.receiver._intake.figures.count("event", odd, "stored")
    for accept in ("", OPEN_METRICS):
        samples = scraped(api, headers={"Accept": accept})
        assert value(samples, "thumbwheel_ingest_bodies_total", project=odd, kind="event", outcome="stored") == 1
