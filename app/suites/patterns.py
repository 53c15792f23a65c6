"""Regular expressions and JSON schemas that a suite may hold: both are checked in linear time. Pure.

A pattern that backtracks can take longer than the universe on a few dozen characters. RE2 never backtracks, so it has
neither lookaround nor backreferences; the patterns within a JSON schema are read by a linear engine, too. A schema is
never fetched from a network.
"""

import json
from functools import lru_cache
from typing import Any

import jsonschema_rs
import re2

#: Memory of one compiled pattern.
MOST_PATTERN_BYTES = 8 * 2**20

_OPTIONS = re2.Options()
_OPTIONS.max_mem = MOST_PATTERN_BYTES
_OPTIONS.log_errors = False


@lru_cache(maxsize=1024)
def pattern(text: str) -> Any:
    """Returns the compiled pattern. Raises `ValueError` with the reason if RE2 does not take it."""
    try:
        return re2.compile(text, _OPTIONS)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(
            f"is not a pattern of RE2, which is linear in time and has no lookaround or backreferences: {reason}"
        ) from None


def schema(document: Any) -> jsonschema_rs.Validator:
    """Returns the validator of a JSON schema. Raises `ValueError` with the reason if it is not one."""
    return _schema(json.dumps(document, sort_keys=True))


@lru_cache(maxsize=256)
def _schema(text: str) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            json.loads(text), pattern_options=jsonschema_rs.RegexOptions(), offline=True, validate_formats=True
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"is not a JSON schema that can be checked here: {reason}") from None
