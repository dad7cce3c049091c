"""`factors.sms` and `factors.call`: who sends codes to phone numbers, to which countries, and how many."""

from __future__ import annotations

import importlib.util
import re
from functools import partial

from proxy.config import credentials, values
from proxy.config.document import Scalar
from proxy.config.factor_settings import DEFAULT_DAILY_LIMIT, PhoneCodes, Webhook
from proxy.config.on_revoke import check_webhook_secret
from proxy.config.reader import Bad, Section

_COUNTRY = re.compile("[A-Z]{2}")


def read(here: Section, *, private: bool) -> PhoneCodes | None:
    """The settings; what is wrong is recorded. `private`: certificates and secrets are read."""
    countries = here.each("countries", _country)
    if here.node("countries") is None:
        here.fail("countries", "is missing; write those that your people have numbers of, [ES, PT]")
    by_apprise = credentials.is_given(here, "apprise", secrets=True)
    by_webhook = "webhook" in here
    if by_apprise == by_webhook:
        wrong = "stands beside apprise; keep one of the two" if by_webhook else "is missing; write webhook: {url: …}"
        here.fail("webhook", wrong)
    hook = _webhook(here, private=private) if by_webhook else None
    apprise = credentials.read(here, "apprise", _check_apprise, secrets=private)
    if by_apprise and importlib.util.find_spec("apprise") is None:
        message = "needs Apprise, which is not installed; run: pip install sidegate[notify]"
        here.problems.add(here.mark, here.at("apprise"), message)
    limit = here.get("daily_limit", values.whole(1, 1_000_000), DEFAULT_DAILY_LIMIT)
    return PhoneCodes(countries, limit, hook, apprise)


def _country(scalar: Scalar) -> str:
    written = values.text(scalar)
    if not _COUNTRY.fullmatch(written):
        raise Bad("is not the two capital letters of a country; write ES")
    return written


def _webhook(codes: Section, *, private: bool) -> Webhook | None:
    here = codes.section("webhook", "factors.webhook")
    if here is None:
        return None
    url = here.required("url", values.service_url, "", 'write "https://gateway.example.org/send"')
    scheme, host = values.scheme_and_host(url)
    if scheme == "http" and not values.is_loopback(host):
        here.fail("url", "must be https: http is for this machine only")
    if scheme == "http" and "ca" in here:
        here.fail("ca", "means nothing with http://; remove it")
    if not credentials.is_given(here, "secret", secrets=private):
        here.problems.add(here.mark, here.at("secret"), "is missing; write secret_file: /path of a file")
    secret = credentials.read(here, "secret", check_webhook_secret, secrets=private)
    return Webhook(url, secret, here.get("ca", partial(values.ca, certificates=private and scheme == "https"), None))


def _check_apprise(url: str) -> None:
    if "://" not in url or "{to}" not in url:
        raise Bad('must be a URL of Apprise\'s in which {to} stands for the number, such as "sinch://…/{to}"')
