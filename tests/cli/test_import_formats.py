"""`thumbwheel import` with every file of the formats of other tools, twice."""

from tests.feedback.importing.test_formats import FORMATS

#: Files whose records are those of another file before them: equal content has equal ids.
REPEATED = {
    "trl_preference_implicit_prompt.jsonl": "axolotl_dpo_argilla_chat.jsonl",
    "ms_swift_kto.jsonl": "llamafactory_kto_openai_messages.json",
}


def test_every_file_goes_in_once(cli, client, shared_data):
    files = [shared_data / "formats" / name for name in FORMATS]

    first, second = cli("import", *files), cli("import", *files)

    assert first.code == second.code == 1, first.err
    for outcome, (name, (kept, rejected, silent)) in zip(first.document, FORMATS.items(), strict=True):
        events = sum(kept.values()) - kept.get("registered", 0)
        assert outcome["file"] == name
        stored, replayed = (0, events) if name in REPEATED else (events, 0)
        assert (name, outcome["stored"], outcome["replayed"]) == (name, stored, replayed)
        assert (name, outcome["registered"]) == (name, kept.get("registered", 0))
        assert (name, outcome["rejected"], outcome["silent"]) == (name, sum(rejected.values()), sum(silent.values()))
    for again, (name, (kept, _, _)) in zip(second.document, FORMATS.items(), strict=True):
        assert (name, again["stored"], again["registered"], again["superseded"]) == (name, 0, 0, 0)
        assert (name, again["replayed"]) == (name, sum(kept.values()))
    judged = client.completions.explain_label("019950f7-974d-792c-b961-554bac954ab5")  # by two files of TensorZero
    assert (judged.label, judged.completion) == ("desirable", "Why?  Don't you like the elderly?")
