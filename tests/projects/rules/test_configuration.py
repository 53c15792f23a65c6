"""Changes of a project's configuration."""

from thumbwheel import wire

from app.projects.configuration import changed


def test_a_change_stores_every_section_that_it_gives():
    given = wire.ProjectChange.model_validate(
        {
            "recipe": {"preset": "lora-small"},
            "trigger": {},
            "snapshot": {"minimum_per_class": 30},
            "monitoring": {},
            "limits": {"per_minute": 60},
            "retention": {"months": 13},
            "redaction": {"mode": "mask", "kinds": ["email"]},
            "actors": "hashed",
        }
    )

    stored = changed({}, given)

    assert stored.keys() == given.model_dump(exclude_none=True).keys()
    assert (stored["retention"]["months"], stored["redaction"]["mode"], stored["actors"]) == (13, "mask", "hashed")
