"""Other detectors on the same texts, if they are installed: phonenumbers' matcher, and Presidio's patterns."""

from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from benchmarks.redaction.figures import Finder

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "IN", "JP", "CN", "AU", "BR")
KINDS_OF_PRESIDIO = {
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip_address",
}  # fmt: skip
#: Presidio's own patterns score 0.4 without a checksum.
FEWEST_SCORE = 0.4


def installed() -> Iterator[tuple[str, Finder, frozenset[str]]]:
    """Yields the name of each peer, its finder and its kinds."""
    if find_spec("phonenumbers"):
        yield f"phonenumbers {version('phonenumbers')}, 12 regions", _matcher(), frozenset({"phone"})
    if find_spec("presidio_analyzer"):
        kinds = frozenset(KINDS_OF_PRESIDIO.values())
        yield f"Presidio {version('presidio_analyzer')}, without a model", _patterns(), kinds


def _matcher() -> Finder:
    import phonenumbers

    def find(text: str) -> list[tuple[str, int, int]]:
        found: set[tuple[int, int]] = set()
        for region in REGIONS:
            found |= {(match.start, match.end) for match in phonenumbers.PhoneNumberMatcher(text, region)}
        return [("phone", start, end) for start, end in sorted(found)]

    return find


def _patterns() -> Finder:
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Blank(SpacyNlpEngine):  # type: ignore[misc]
        def load(self) -> None:
            self.nlp = {"en": spacy.blank("en")}

    # Presidio checks the domains of mail addresses with it; by default it downloads a list.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    engine = Blank(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.load()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    analyzer: Any = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])

    def find(text: str) -> list[tuple[str, int, int]]:
        results = analyzer.analyze(text, language="en", entities=list(KINDS_OF_PRESIDIO), score_threshold=FEWEST_SCORE)
        return sorted((KINDS_OF_PRESIDIO[result.entity_type], result.start, result.end) for result in results)

    return find
