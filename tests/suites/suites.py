"""Small suites for tests."""

from typing import Any

from thumbwheel import wire

from app.suites.documents import read


def document(*assertions: dict[str, Any], **test: Any) -> dict[str, Any]:
    """Returns a suite with one prompt and one test."""
    return {
        "name": "small",
        "prompts": ["Say {{word}}"],
        "tests": [{"vars": {"word": "hello"}, "assert": list(assertions), **test}],
    }


def test_of(*assertions: dict[str, Any], **test: Any) -> wire.SuiteTest:
    """Returns the test of a valid suite."""
    suite = read(document(*assertions, **test))
    assert isinstance(suite, wire.Suite), suite
    return suite.tests[0]


test_of.__test__ = False  # type: ignore[attr-defined]
