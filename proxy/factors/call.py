"""Codes by phone call: a voice reads them slowly, twice."""

from __future__ import annotations

from proxy.domain.factor_kinds import FactorKind
from proxy.factors import message
from proxy.factors.phone_codes import Texts, Way
from proxy.factors.phone_numbers import ANY_PHONE

TEXT = message("Hello. This is %(site)s. Your code is: %(digits)s. Once more: %(digits)s. Goodbye.")


def write(texts: Texts, site: str, host: str, code: str) -> str:
    """Each digit is a sentence: voices pause there."""
    return texts.say(TEXT, site=site, digits=". ".join(code))


WAY = Way(FactorKind.CALL, ANY_PHONE, write)
