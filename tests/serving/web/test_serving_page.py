"""The page of serving targets: a hint without any, then what each should serve, serves, and why not."""

from tests.desk import execute


def test_the_page_says_how_to_add_a_target(open_page):
    assert "thumbwheel serving add" in open_page.get("/serving", params={"project": "acme"}).text


def test_the_page_shows_each_target_with_its_state_probe_and_reason(open_page):
    settings = {"kind": "vllm", "url": "http://127.0.0.1:8100", "publish_folder": "/srv/models"}
    for name in ("gpu-1", "gpu-2"):
        body = {"name": name, "settings": settings}
        assert open_page.post("/v1/serving/targets", params={"project": "acme"}, json=body).status_code == 201
    execute(
        """INSERT INTO serving_sightings (target_id, role, state, seen_at, seen_checkpoint_id, seen, probe, attempts)
        SELECT serving_targets.id, 'live', 'serving', now(), checkpoints.id,
        '{"kind": "base", "digest": "", "name": "", "folder": "", "path": "/b", "model": "the-name"}',
        jsonb_build_object('verdict', 'ok', 'way', 'log_probs', 'tokens', 12, 'max_nats', 0.00001,
            'mean_nats', 0, 'base_max_nats', 1.5, 'base_mean_nats', 1, 'tolerance', 0.001, 'at', now(),
            'checkpoint_id', checkpoints.id), 0
        FROM serving_targets JOIN checkpoints USING (project_id) WHERE name = 'gpu-1'"""
    )
    execute(
        """INSERT INTO serving_sightings (target_id, role, state, reason, attempts)
        SELECT id, 'live', 'away', 'it <cannot> be reached', 1 FROM serving_targets WHERE name = 'gpu-2'"""
    )
    execute(
        """INSERT INTO serving_sightings (target_id, role, state, reason, attempts)
        SELECT id, 'canary', 'failed', 'it answered <500>', 1 FROM serving_targets WHERE name = 'gpu-1'"""
    )

    text = open_page.get("/serving", params={"project": "acme"}).text

    assert "The targets serve different checkpoints." in text
    assert "the-name" in text
    assert "12 tokens, up to 1e-05 nats off the checkpoint and 1.5 off its base model, 0.001 allowed" in text
    assert "it &lt;cannot&gt; be reached" in text
    assert "it answered &lt;500&gt;" in text
