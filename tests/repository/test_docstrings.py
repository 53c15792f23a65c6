"""The check of docstrings' first words, which `make check` runs."""

import pytest

from tools.docstrings import faults_in, registered_in


@pytest.mark.parametrize(
    "begins", ["Of each group.", "What it holds.", "Make a key.", "(N,) numbers.", "Rows of a file.", ""]
)
def test_a_function_whose_docstring_begins_with_no_verb_in_the_third_person_and_no_article_is_named(begins):
    source = f'def f():\n    """{begins} And more."""\n'

    assert [line for line, _ in faults_in(source)] == [2]


@pytest.mark.parametrize("begins", ["Returns a key.", "The key of a row.", "A key.", "Re-reads a file."])
def test_verbs_in_the_third_person_and_nouns_with_an_article_pass(begins):
    assert not list(faults_in(f'def f():\n    """{begins}"""\n'))


def test_modules_and_classes_may_begin_with_a_noun_but_with_no_fragment():
    assert not list(faults_in('"""SQL of keys."""\nclass Key:\n    """Keys of rows."""\n'))
    assert [line for line, _ in faults_in('"""Of keys."""\nclass Key:\n    """What opens."""\n')] == [1, 3]


def test_words_of_no_dialect_but_ours_are_named():
    assert [line for line, _ in faults_in('def f():\n    """Makes it anew."""\n')] == [2]


def test_help_texts_of_commands_are_left_alone():
    assert not list(faults_in('@app.command("list")\ndef f():\n    """List keys."""\n'))


def test_help_texts_of_commands_that_another_file_registers_are_left_alone():
    registry = 'from cli.keys import list_keys, revoked\napp.command("list")(list_keys)\napp.add_typer(revoked)\n'
    source = 'def list_keys():\n    """List keys."""\n'

    assert registered_in(registry) == {("cli.keys", "list_keys")}
    assert not list(faults_in(source, {"list_keys"}))
    assert [line for line, _ in faults_in(source)] == [2]
