"""An app password on its way."""

from __future__ import annotations

import pytest

from proxy.domain.model import Protocol
from tests.onboarding.site import SECRET, handover


def test_mail_takes_both_scopes() -> None:
    assert handover().for_mail
    assert not handover(scopes={Protocol.IMAP}).for_mail


def test_names_are_one_line() -> None:
    assert handover(display_name=" Alice\r\nÁlvarez ").sender == "Alice Álvarez"


def test_the_secret_shows_only_when_asked_for() -> None:
    assert SECRET not in repr(handover())
    assert handover().revealed() == SECRET
    with pytest.raises(AssertionError):
        handover(secret=None).revealed()
