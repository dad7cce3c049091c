"""Types of options whose values people write. What cannot be meant is wrong usage, and the core is not asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType

import click


def _checked(check: Callable[[ModuleType, str], object]) -> Callable[[str], str]:
    """An option's type: the text as it is, if it can be meant."""

    def convert(text: str) -> str:
        from proxy.admin import values
        from proxy.admin.desk import Invalid

        try:
            check(values, text)
        except Invalid as error:
            raise click.BadParameter(str(error)) from None
        return text

    return convert


SCOPES = _checked(lambda values, text: values.scopes(text.split(",")))
NETWORK = _checked(lambda values, text: values.networks([text]))
EXPIRY = _checked(lambda values, text: values.expiry(text, time.time()))
DURATION = _checked(lambda values, text: values.duration(text))
