"""Why a program was not let in, in words for the account's owner; admin/reasons.py has those for operators.

Texts are message ids of the catalogue, in English; they may hold %(account)s, the account's address.
"""

from __future__ import annotations

from typing import NamedTuple

from proxy.domain.verdicts import Reason
from proxy.portal.texts import message


class Words(NamedTuple):
    meaning: str
    todo: str


_OURS = Words(
    message("Something was wrong on our side."),
    message("There is nothing wrong with your app password. The program tries again by itself."),
)
_NAME = Words(message("The program uses a wrong user name."), message("Set the program's user name to %(account)s."))
_OTHER = Words(message("It was not let in."), message("Ask your administrator why, and say when it happened."))

WORDS: dict[Reason, Words] = {
    Reason.NOT_APP_PASSWORD: Words(
        message("It sent something else than an app password, most likely your account password."),
        message("If it is your program, create an app password and put it where the program asks for a password."),
    ),
    Reason.NOT_APP_PASSWORD_NAME: _NAME,
    Reason.BAD_LOGIN_NAME: _NAME,
    Reason.FOREIGN_DOMAIN: _OTHER,
    Reason.AUTHZID_MISMATCH: Words(
        message("It asked to act for another account than the one it logs in to."),
        message("Clear the authorization identity in the program's settings, or set it to %(account)s."),
    ),
    Reason.UNKNOWN_ACCOUNT: _OTHER,
    Reason.ACCOUNT_DISABLED: Words(message("The account was disabled."), message("Ask your administrator why.")),
    Reason.UNKNOWN_APP_PASSWORD: Words(
        message("It sent an app password that is none of this account."),
        message(
            "If it is your program, give it a new app password. If it is not, do not worry: they cannot be guessed."
        ),
    ),
    Reason.REVOKED: Words(
        message("It still tries an app password that was revoked."),
        message("Remove the account from that program, or give it a new app password."),
    ),
    Reason.EXPIRED: Words(
        message("It still tries an app password that has expired."),
        message("Remove the account from that program, or give it a new app password."),
    ),
    Reason.WRONG_SCOPE: Words(
        message("Its app password was not made for that."),
        message("Create a new one for this program that allows what it needs."),
    ),
    Reason.WRONG_NETWORK: Words(
        message("Its app password works only in other networks."),
        message(
            "Use the program there, or create a new app password for it. If it is not your program, revoke this one."
        ),
    ),
    Reason.BEARER_UNSUPPORTED: Words(
        message("It tried to sign in in a way that is not offered here (OAuth)."),
        message("In the program's settings choose “normal password”, and use an app password."),
    ),
    Reason.LIMITED: Words(
        message("Too many different wrong passwords came from there."),
        message("Wait some minutes. A program with a right app password is always let in."),
    ),
    Reason.TOO_MANY_SESSIONS: Words(
        message("Too many programs were connected at the same time."),
        message("Look at your sessions, and cut those you do not need."),
    ),
    Reason.TLS_REQUIRED: Words(
        message("It tried to log in without encryption."),
        message(
            "Turn on SSL/TLS or STARTTLS in the program. Others may have read what it sent: revoke that app password, "
            "or, if it was your account password, change it."
        ),
    ),
    Reason.SERVICE_NETWORK: _OTHER,
    Reason.SERVICE_REFUSED: _OTHER,
    Reason.STORE_UNAVAILABLE: _OURS,
    Reason.CORE_UNAVAILABLE: _OURS,
    Reason.BACKEND_UNAVAILABLE: _OURS,
    Reason.BACKEND_REFUSED_US: _OURS,
    Reason.BACKEND_UNKNOWN_ACCOUNT: Words(
        message("The mailbox behind your account was not found."),
        message("Ask your administrator: it is not your program's fault."),
    ),
    Reason.BUSY: _OURS,
    Reason.INTERNAL_ERROR: _OURS,
}
"""One row per reason (a test holds that)."""


def explain(reason: str) -> Words:
    """The words for a reason as stored; one that this version does not know has some too."""
    try:
        return WORDS[Reason(reason)]
    except ValueError:
        return _OTHER
