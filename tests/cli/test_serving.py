"""`thumbwheel serving`: targets are added, shown, changed, looked at and removed."""

import pytest


@pytest.fixture
def add(cli):
    def added(*more):
        return cli(
            "serving", "add", "gpu", "--kind", "vllm", "--url", "http://127.0.0.1:8100", "--publish-folder", "/srv/m",
            *more,
        )  # fmt: skip

    return added


def test_a_target_is_added_changed_turned_off_and_removed(cli, add):
    made = add("--set", "max_lora_rank=64").document
    assert (made["name"], made["state"], made["settings"]["max_lora_rank"]) == ("gpu", "new", 64)

    changed = cli("serving", "set", "gpu", "--set", "drain_seconds=5").document
    assert (changed["settings"]["max_lora_rank"], changed["settings"]["drain_seconds"]) == (64, 5)
    assert cli("serving", "sync", "gpu").document["state"] == "new"
    assert cli("serving", "disable", "gpu").document["state"] == "disabled"
    assert cli("serving", "show").document["in_step"] is True  # nothing that is enabled differs
    assert cli("serving", "enable", "gpu").document["enabled"] is True
    assert cli("serving", "show", "gpu").document["name"] == "gpu"
    late = cli("serving", "show", "--wait", "0.1")
    assert (late.code, late.document["in_step"]) == (1, False)
    assert cli("serving", "remove", "gpu").code == 0
    assert cli("serving", "show").document["targets"] == []


def test_a_wrong_setting_is_one_line_with_its_name(cli, add):
    refused = cli.refused("serving", "add", "gpu", "--kind", "vllm", "--publish-folder", "models")
    assert "publish_folder: " in refused
    assert "url: Field required" in refused
    assert "vllm" in cli.refused("serving", "add", "gpu", "--kind", "llama", "--publish-folder", "/m")
    assert "max_lora_rank: " in cli.refused(
        "serving",
        "add",
        "gpu",
        "--kind",
        "vllm",
        "--url",
        "http://h",
        "--publish-folder",
        "/m",
        "--set",
        "max_lora_rank=none",
    )
    assert "no serving target none" in cli.refused("serving", "show", "none")
    assert "FIELD=VALUE" in cli.refused("serving", "set", "gpu")
