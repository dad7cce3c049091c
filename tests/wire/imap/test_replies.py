"""Every refusal is a row, and every reason leads to one."""

from __future__ import annotations

import pytest

from proxy.domain.verdicts import SHOWN, Reason, Shown
from proxy.wire.imap.replies import REFUSALS, farewell

URL = "https://login.example.org/"

EXACT = {
    Shown.NOT_APP_PASSWORD: (
        b"* OK [ALERT] Application-specific password required: https://login.example.org/\r\n",
        b" NO [AUTHENTICATIONFAILED] Application-specific password required: https://login.example.org/\r\n",
    ),
    Shown.NOT_ACCEPTED: (
        b"* OK [ALERT] App password not accepted: https://login.example.org/\r\n",
        b" NO [AUTHENTICATIONFAILED] App password not accepted: https://login.example.org/\r\n",
    ),
    Shown.UNAVAILABLE: (b"", b" NO [UNAVAILABLE] Temporary authentication failure\r\n"),
    Shown.LIMITED: (b"", b" NO [LIMIT] Too many attempts, try again later\r\n"),
    Shown.TLS_FIRST: (b"", b" NO [PRIVACYREQUIRED] TLS is required before login\r\n"),
}


@pytest.mark.parametrize("shown", Shown)
def test_every_row_exactly(shown: Shown) -> None:
    assert REFUSALS[shown].render(URL) == EXACT[shown]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_row(reason: Reason) -> None:
    assert SHOWN[reason] in REFUSALS


@pytest.mark.parametrize("shown", [Shown.NOT_APP_PASSWORD, Shown.NOT_ACCEPTED])
def test_the_point_is_in_the_first_sixty_characters(shown: Shown) -> None:
    """Status lines of terminal clients are cut at the screen's width."""
    assert REFUSALS[shown].text.index("{url}") < 60


def test_braces_in_the_address_are_no_template() -> None:
    assert b"https://x/{a}?q={0}" in REFUSALS[Shown.NOT_ACCEPTED].render("https://x/{a}?q={0}")[1]


def test_farewell() -> None:
    assert farewell("App password revoked") == b"* BYE App password revoked\r\n"
