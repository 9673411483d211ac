"""Prints what Presidio's pattern recognizers find in each case, a line of JSON each.

All of them are asked, of all countries, with their words and without a model: names and places are not
compared. Where findings overlap, the one with the higher score stays, then the longer, as in presidio-anonymizer.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import presidio_analyzer.predefined_recognizers as predefined
import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, EntityRecognizer, LocalRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

# It would fetch a newer list of suffixes.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())

HERE = Path(__file__).resolve().parent
# They need a model or a service.
WITHOUT = {"SpacyRecognizer", "StanzaRecognizer", "TransformersRecognizer", "GLiNERRecognizer", "AzureAILanguageRecognizer"}


class WordsOnly(NlpEngine):
    """Words of a text, and nothing about them."""

    def __init__(self) -> None:
        self.blank = spacy.blank("en")

    def load(self) -> None:
        pass

    def is_loaded(self) -> bool:
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        doc = self.blank(text)
        return NlpArtifacts([], doc, [token.idx for token in doc], [token.text.lower() for token in doc], self, language)

    def process_batch(self, texts, language, **_):  # type: ignore[no-untyped-def]
        for text in texts:
            yield text, self.process_text(text, language)

    def is_stopword(self, word: str, language: str) -> bool:
        return self.blank.vocab[word].is_stop

    def is_punct(self, word: str, language: str) -> bool:
        return self.blank.vocab[word].is_punct

    def get_supported_entities(self) -> list[str]:
        return []

    def get_supported_languages(self) -> list[str]:
        return ["en"]


def recognizers() -> list[EntityRecognizer]:
    made = []
    for name in predefined.__all__:
        found = getattr(predefined, name)
        if name in WITHOUT or not inspect.isclass(found) or not issubclass(found, LocalRecognizer):
            continue
        try:
            made.append(found(supported_language="en"))
        except (TypeError, ImportError, ValueError):
            continue
    return made


def resolved(results: list) -> list:  # type: ignore[type-arg]
    kept: list = []
    for one in sorted(results, key=lambda one: (-one.score, one.start - one.end)):
        if not any(one.start < other.end and other.start < one.end for other in kept):
            kept.append(one)
    return kept


def main() -> None:
    registry = RecognizerRegistry(recognizers=recognizers(), supported_languages=["en"])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=WordsOnly(), supported_languages=["en"])
    for line in (HERE / "cases.jsonl").read_text().splitlines():
        results = analyzer.analyze(json.loads(line)["text"], language="en")
        print(json.dumps([(one.entity_type, one.start, one.end, one.score) for one in resolved(results)]))


if __name__ == "__main__":
    main()
