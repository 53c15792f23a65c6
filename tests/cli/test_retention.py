"""`thumbwheel retention …` and `thumbwheel holds …`."""

from tests.privacy.rows.test_retention import OLD, execute, received, thumb


def test_a_rule_that_deletes_has_to_be_confirmed(cli):
    received(OLD, [thumb(1)], "acme")
    try:
        assert "add --yes" in cli.refused("retention", "set", "--months", "13")
        assert cli("retention", "preview", "--months", "13").document["events"] == 1

        assert cli("retention", "set", "--months", "13", "--yes").document["retention"]["months"] == 13
        assert cli("retention", "show").document["rules"]["months"] == 13
        assert cli("retention", "months").document == []
        assert cli("retention", "set", "--off").document["retention"]["months"] is None
        assert "either --months or --off" in cli.refused("retention", "set")
    finally:
        execute("DROP TABLE IF EXISTS events_2024_03")


def test_a_hold_is_placed_shown_and_released(cli):
    assert "Give one of" in cli.refused("holds", "add", "--reason", "case 4")

    placed = cli("holds", "add", "--whole-project", "--reason", "case 4", "--until", "2090-01-01").document
    assert cli("holds", "show", placed["id"][-8:]).document == placed
    released = cli("holds", "release", placed["id"], "--reason", "settled").document

    assert cli("holds", "list").document == [released]
    assert (placed["in_force"], released["in_force"]) == (True, False)
