"""Fronts as the tests of this folder want them."""

from __future__ import annotations

from collections.abc import Callable

from proxy.wire.events import FrontMachine, FrontSettings
from proxy.wire.imap.front import make

URL = "https://login.example.org/"


def front(*offers: str, starttls: bool = False) -> Callable[[], FrontMachine]:
    return make(FrontSettings(URL, "mail.example.org", starttls, frozenset(offers)))


IMPLICIT = front()
STARTTLS = front(starttls=True)

GREETED = """
> connect tls
S: * OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN] sidegate ready
"""
GREETED_CLEAR = """
> connect clear
S: * OK [CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS LOGINDISABLED] sidegate ready
"""
NOT_APP_PASSWORD = """
> refuse not_app_password
S: * OK [ALERT] Application-specific password required: https://login.example.org/
S: a NO [AUTHENTICATIONFAILED] Application-specific password required: https://login.example.org/
"""
