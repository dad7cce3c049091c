from __future__ import annotations

from proxy.domain.verdicts import Reason
from proxy.portal.refusals import WORDS, explain


def test_every_reason_has_words_for_people() -> None:
    assert set(WORDS) == set(Reason)
    for words in WORDS.values():
        for text in words:
            assert text.endswith(".")
            assert "sidegate" not in text, "people know no command line"
            assert text % {"account": "alice@example.org"}


def test_a_reason_of_another_version_has_words_too() -> None:
    assert explain("revoked") is WORDS[Reason.REVOKED]
    assert explain("by_a_later_version").todo.startswith("Ask your administrator")
