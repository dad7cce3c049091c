"""Phone numbers: what people type, in E.164, if codes are sent there."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import phonenumbers
from phonenumbers import PhoneNumberType

from proxy.factors import message

LONGEST = 40
"""Characters of what is looked at."""
MOBILE = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
"""What takes text messages. What is not listed here is no person's phone, and may cost anything: premium, shared cost,
pagers, numbers that follow a person around."""
ANY_PHONE = MOBILE | {PhoneNumberType.FIXED_LINE, PhoneNumberType.VOIP}

NO_NUMBER = message("That is no phone number. Enter it with its country code, such as +34 612 34 56 78.")
NOT_THERE = message("No codes are sent to numbers of that country. Enter another number, or choose another way.")
NOT_THAT_KIND = message("No codes are sent to numbers of that kind. Enter the number of a phone of your own.")


class Wrong(Exception):
    """A message id, for the person."""


def number_of(typed: str, countries: Sequence[str], types: Collection[int]) -> str:
    """In E.164. Without a country code it is one of the first country. Raises Wrong."""
    try:
        number = phonenumbers.parse(typed[:LONGEST], countries[0])
    except phonenumbers.NumberParseException:
        raise Wrong(NO_NUMBER) from None
    if number.extension or not phonenumbers.is_valid_number(number):
        raise Wrong(NO_NUMBER)
    if phonenumbers.region_code_for_number(number) not in countries:
        raise Wrong(NOT_THERE)
    if phonenumbers.number_type(number) not in types:
        raise Wrong(NOT_THAT_KIND)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def masked(number: str) -> str:
    """So that its owner knows which one it is, and nobody else learns it."""
    return f"+{phonenumbers.parse(number).country_code} ••• {number[-2:]}"
