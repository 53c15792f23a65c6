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
        """UPDATE serving_targets SET state = 'serving', seen_at = now(),
        seen_checkpoint_id = (SELECT id FROM checkpoints WHERE project_id = 'acme'),
        seen = '{"kind": "base", "digest": "", "name": "", "folder": "", "path": "/b", "model": "the-name"}',
        probe = jsonb_build_object('verdict', 'ok', 'way', 'log_probs', 'tokens', 12, 'max_nats', 0.00001,
            'mean_nats', 0, 'base_max_nats', 1.5, 'base_mean_nats', 1, 'tolerance', 0.001, 'at', now(),
            'checkpoint_id', (SELECT id FROM checkpoints WHERE project_id = 'acme'))
        WHERE name = 'gpu-1'"""
    )
    execute("UPDATE serving_targets SET state = 'away', reason = 'it <cannot> be reached' WHERE name = 'gpu-2'")

    text = open_page.get("/serving", params={"project": "acme"}).text

    assert "The targets serve different checkpoints." in text
    assert "the-name" in text
    assert "12 tokens, up to 1e-05 nats off the checkpoint and 1.5 off its base model, 0.001 allowed" in text
    assert "it &lt;cannot&gt; be reached" in text
