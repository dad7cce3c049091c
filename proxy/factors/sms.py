"""Codes by text message. Its last line binds the code to this site: a browser fills it in here and nowhere else (WICG
origin-bound one-time codes)."""

from __future__ import annotations

from proxy.domain.factor_kinds import FactorKind
from proxy.factors import message
from proxy.factors.phone_codes import Texts, Way
from proxy.factors.phone_numbers import MOBILE

TEXT = message("%(code)s is your code for %(site)s. Enter it at %(host)s only. Nobody will ask you for it.")


def write(texts: Texts, site: str, host: str, code: str) -> str:
    return f"{texts.say(TEXT, code=code, site=site, host=host)}\n\n@{host} #{code}"


WAY = Way(FactorKind.SMS, MOBILE, write)
