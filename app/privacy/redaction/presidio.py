"""Microsoft Presidio as a detector, from the extra `presidio`, loaded when a project first needs one of its kinds.

Its patterns work without a language model. Kinds that only a model recognises need one: the name of an installed spaCy
model, or its folder, in THUMBWHEEL_PRESIDIO_MODEL. Nothing is downloaded.
"""

from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.errors import Unavailable, brief
from app.privacy.redaction.findings import DetectedSpan
from app.settings import current

#: Kinds of Presidio that only a language model recognises.
OF_A_MODEL = frozenset({"person", "location", "organization", "nrp"})
#: Presidio scores findings from 0 to 1; patterns without a checksum or a word nearby score 0.3 at most.
FEWEST_SCORE = 0.33
#: spaCy refuses longer texts, by default those of over a million characters.
MOST_CHARACTERS = 100_000_000


def find(text: str, kinds: frozenset[str]) -> Iterator[DetectedSpan]:
    """Yields what Presidio finds. Raises `Unavailable` with the remedy if it cannot find these kinds."""
    language, model = _configuration()
    analyzer = _checked_analyzer(kinds, language, model)
    entities = [kind.upper() for kind in sorted(kinds)]
    for result in analyzer.analyze(text, language=language, entities=entities, score_threshold=FEWEST_SCORE):
        yield DetectedSpan(result.entity_type.lower(), result.start, result.end)


@lru_cache(maxsize=64)
def _checked_analyzer(kinds: frozenset[str], language: str, model: str | None) -> Any:
    reason = reason_to_refuse(kinds)
    if reason is not None:  # not cached, so that the next call looks again
        raise Unavailable(reason, code="presidio_unavailable")
    return _analyzer(language, model)


def reason_to_refuse(kinds: frozenset[str]) -> str | None:
    """Returns why these kinds cannot be found here, with the remedy; None if they can."""
    if find_spec("presidio_analyzer") is None:
        return (
            f"{_listed(kinds)}: found by Presidio, which is not installed. Install the extra `presidio` "
            "(pip install 'thumbwheel-server[presidio]') wherever the API runs, or leave these kinds out."
        )
    language, model = _configuration()
    missing = kinds & OF_A_MODEL
    if missing and model is None:
        return (
            f"{_listed(missing)}: need a language model. Name an installed spaCy model, or its folder, in "
            "THUMBWHEEL_PRESIDIO_MODEL, or leave these kinds out."
        )
    if model is not None and not _is_installed(model):
        return (
            f"THUMBWHEEL_PRESIDIO_MODEL: there is no spaCy model {model!r} here. Install it "
            f"(python -m spacy download {model}), or name a folder that holds one."
        )
    try:
        entities = _analyzer(language, model).get_supported_entities(language)
    except (ImportError, OSError, ValueError) as error:
        return (
            f"THUMBWHEEL_PRESIDIO_LANGUAGE={language}: Presidio cannot be loaded for it ({brief(str(error))}). Name a "
            "language of spaCy, such as en or de."
        )
    unknown = kinds - {entity.lower() for entity in entities}
    if unknown:
        return (
            f"{_listed(unknown)}: Presidio has no recogniser for the language {language!r}. Set "
            "THUMBWHEEL_PRESIDIO_LANGUAGE to the language that has one, or leave these kinds out."
        )
    return None


def _listed(kinds: frozenset[str]) -> str:
    return ", ".join(sorted(kinds))


def _configuration() -> tuple[str, str | None]:
    settings = current()
    return settings.presidio_language, settings.presidio_model


def _is_installed(model: str) -> bool:
    import spacy

    return spacy.util.is_package(model) or (Path(model) / "config.cfg").is_file()


@lru_cache(maxsize=4)
def _analyzer(language: str, model: str | None) -> Any:
    """Returns an analyzer, which takes seconds to load and is kept.

    Without a model, an empty pipeline only splits texts into words: enough for Presidio's patterns and the words around
    them. Presidio's own loading of a model would download it.
    """
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Pipeline(SpacyNlpEngine):
        def load(self) -> None:
            pipeline = spacy.blank(language) if model is None else spacy.load(model)
            pipeline.max_length = MOST_CHARACTERS
            self.nlp = {language: pipeline}

    engine = Pipeline(models=[{"lang_code": language, "model_name": model or "blank"}])
    engine.load()
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])
