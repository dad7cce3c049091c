"""What notices say: in a mail, on a phone, on the history page.

Ids of messages are in English; whoever reads has them in the catalogue of portal/texts.py. Mails carry no link and no
secret: "open it as you always do" is what a forged one cannot make use of.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.notices import Kind
from proxy.domain.verdicts import Reason

WIDTH = 72
MAX_VALUE = 200
"""Characters of a fact."""


def message(text: str) -> str:
    """Marks the id of a message (portal/texts.py)."""
    return text


class Speech(Protocol):
    """A language (portal/texts.Texts)."""

    def translate(self, text: str) -> str: ...


class Words(NamedTuple):
    """Message ids; they may hold any fact of the kind."""

    title: str
    happened: str
    todo: str


_NOT_ME = message(
    "If that was you, there is nothing to do. If it was not: open the portal as you always do, go to “History”, and "
    "choose “This was not me”."
)
_CALL = message("If you did not ask for that, call your administrator now.")
_ADMIN = message("Look at the audit trail, and speak to that person over a way that you know to be theirs.")

WORDS: dict[Kind, Words] = {
    Kind.SIGNED_IN: Words(
        message("New sign-in"),
        message("Somebody signed in to your account in a browser, or from a place, that was not seen before."),
        _NOT_ME,
    ),
    Kind.APP_PASSWORD_CREATED: Words(
        message("New app password “%(name)s”"),
        message("The app password “%(name)s” was created. The program that has it opens %(account)s."),
        _NOT_ME,
    ),
    Kind.FACTOR_ADDED: Words(
        message("New sign-in method “%(name)s”"),
        message("“%(name)s” was added to the methods that you sign in with."),
        _NOT_ME,
    ),
    Kind.FACTOR_REMOVED: Words(
        message("“%(name)s” is no longer a sign-in method"),
        message("“%(name)s” was removed from the methods that you sign in with."),
        _NOT_ME,
    ),
    Kind.RECOVERY_CODES_MADE: Words(
        message("New recovery codes"), message("New recovery codes were made. The old ones work no more."), _NOT_ME
    ),
    Kind.RECOVERY_CODE_USED: Words(
        message("A recovery code was used"),
        message("Somebody signed in with one of your recovery codes. It works no more; %(left)s are left."),
        _NOT_ME,
    ),
    Kind.FACTORS_RESET: Words(
        message("Your sign-in methods were reset"),
        message(
            "An administrator took away all the methods that you sign in with. You set up a new one when you sign in "
            "the next time."
        ),
        _CALL,
    ),
    Kind.ACCOUNT_PASSWORD_CHANGED: Words(
        message("Your account password was changed"),
        message("Your account has a new password. Your app passwords go on working."),
        _NOT_ME,
    ),
    Kind.RECOVERY_ADDRESS_CHANGED: Words(
        message("Your recovery address was changed"),
        message("What you should know about your account is sent to another address from now on: %(recovery_address)s"),
        _NOT_ME,
    ),
    Kind.RECOVERY_ADDRESS_CODE: Words(
        message("Code for a recovery address"),
        message("A code was sent to %(recovery_address)s, to see whether that address is yours."),
        "",
    ),
    Kind.DIGEST: Words(
        message("Your account in the last days"),
        message(
            "Nothing of this was urgent. Tries of programs that were not let in: %(tries)s. Other news: %(notices)s."
        ),
        message("To see all of it, open the portal as you always do and go to “History”."),
    ),
    Kind.FRAUD_REPORTED: Words(
        message("%(account)s reported fraud"),
        message("%(account)s was asked to confirm a sign-in that was not theirs, and reported it. It was ended."),
        _ADMIN,
    ),
    Kind.BREAK_GLASS: Words(
        message("%(account)s signed in past the identity provider"),
        message("The emergency administrator %(account)s signed in with a password of this site."),
        message("If that was not agreed, disable the account at once, and look at the audit trail."),
    ),
    Kind.NOT_ME: Words(
        message("%(account)s says: this was not me"),
        message("%(account)s found something in their history that was not them, and undid it."),
        _ADMIN,
    ),
    Kind.MAIL_FAILING: Words(
        message("Mails to people cannot be sent"),
        message("The mail server of portal.mail takes nothing just now. Everything is tried again for two days."),
        message("Look at the portal's log."),
    ),
    Kind.GATEWAY_FAILING: Words(
        message("Codes cannot be sent: %(gateway)s"),
        message("What sends them does not answer or refuses. People are offered their other sign-in methods."),
        message("Look at the portal's log."),
    ),
}
"""One row per kind; OLD_PROGRAM has one per reason."""

_MINE = message(
    "If it is yours, give it an app password: open the portal as you always do. If you no longer have it, remove the "
    "account from it. If you do not know it, there is nothing to fear: it was not let in."
)
_UNSHAPED = Words(
    message("A program was not let in"),
    message(
        "A program that looks like yours sent something else than an app password, most likely your account password."
    ),
    _MINE,
)
OLD_PROGRAM: dict[Reason, Words] = {
    Reason.NOT_APP_PASSWORD: _UNSHAPED,
    Reason.BEARER_UNSUPPORTED: _UNSHAPED,
    Reason.REVOKED: Words(
        message("An old program still tries"),
        message("A program still tries the app password “%(name)s”, which was revoked."),
        _MINE,
    ),
    Reason.EXPIRED: Words(
        message("An old program still tries"),
        message("A program still tries the app password “%(name)s”, which has expired."),
        _MINE,
    ),
}
_OTHER = Words(message("Something else happened"), message("Something happened to your account."), "")

LABELS: dict[str, str] = {
    "agent": message("Browser"),
    "program": message("Program"),
    "protocol": message("Protocol"),
    "address": message("From"),
    "network": message("From"),
    "factor": message("Kind"),
    "by": message("By"),
    "what": message("What"),
    "reason": message("Why"),
}
"""What is said beside the words, in this order, where a notice has it."""
_FACTORS: dict[str, str] = {
    FactorKind.PASSKEY: message("Passkey"),
    FactorKind.TOTP: message("Authenticator app"),
    FactorKind.PUSH: message("Approve on your phone"),
    FactorKind.SMS: message("Text message"),
    FactorKind.CALL: message("Phone call"),
    FactorKind.RECOVERY_CODE: message("Recovery code"),
}
_CODE_TITLE = message("Your code")
_CODE = message(
    "Somebody, most likely you, wants to be told at this address what they should know about the account %(account)s. "
    "To confirm it, type this code in at the portal within an hour:"
)
_CODE_TODO = message("If that was not you, do nothing: without the code nothing is sent here.")
_WHEN = message("When")
_ACCOUNT = message("Account")
_BY_OPERATOR = message("your administrator")
_FOOT = message(
    "This mail was written by a program. It has no link, so that nobody can send you a false one: open the portal as "
    "you always do."
)


class Facts(dict[str, str]):
    """Facts for one reader: one line each; a missing one is a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


def facts_for(speech: Speech, kind: str, facts: Mapping[str, str]) -> Facts:
    """The facts as the reader has them: kinds of factor, of notice and who did it in words."""
    found = Facts({key: _line(value) for key, value in facts.items()})
    for key in ("factor", "gateway"):
        if found.get(key) in _FACTORS:
            found[key] = speech.translate(_FACTORS[found[key]])
    if "by" in found:
        found["by"] = speech.translate(_BY_OPERATOR)
    if "what" in found and found["what"] in set(Kind):
        found["what"] = title(speech, found["what"], {**facts, "what": ""})
    if kind == Kind.OLD_PROGRAM:
        found.pop("reason", None)  # the words say it
        found["protocol"] = found["protocol"].upper()
    if "network" in found:
        found["network"] = found["network"].removesuffix("/32")
    return found


def title(speech: Speech, kind: str, facts: Mapping[str, str]) -> str:
    """In a line."""
    return speech.translate(_words(kind, facts).title) % facts_for(speech, kind, facts)


def happened(speech: Speech, kind: str, facts: Mapping[str, str]) -> str:
    """In a sentence or two."""
    return speech.translate(_words(kind, facts).happened) % facts_for(speech, kind, facts)


def details(speech: Speech, kind: str, facts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Labels and values."""
    told = facts_for(speech, kind, facts)
    return [(speech.translate(label), told[key]) for key, label in LABELS.items() if told.get(key)]


def when(created: float) -> str:
    """To the minute, in this machine's time zone, which is named: nobody has told us theirs."""
    return datetime.fromtimestamp(created).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def mail(
    speech: Speech, kind: str, facts: Mapping[str, str], *, created: float, account: str, site: str
) -> tuple[str, str]:
    """Subject and body. `account`: whom it is told; `site`: what the portal is called."""
    words = _words(kind, facts)
    rows = [(speech.translate(_WHEN), when(created)), *details(speech, kind, facts)]
    if kind not in (Kind.FRAUD_REPORTED, Kind.NOT_ME):  # which name the account that they are about
        rows.append((speech.translate(_ACCOUNT), account))
    paragraphs = [textwrap.fill(happened(speech, kind, facts), WIDTH)]
    paragraphs.append("\n".join(f"{label}: {value}" for label, value in rows))
    if words.todo:
        paragraphs.append(textwrap.fill(speech.translate(words.todo) % Facts(), WIDTH))
    paragraphs += ["-- \n" + textwrap.fill(f"{site}. {speech.translate(_FOOT)}", WIDTH), ""]
    return f"{title(speech, kind, facts)} – {site}", "\n\n".join(paragraphs[:-1]) + "\n"


def code_mail(speech: Speech, code: str, *, account: str, site: str) -> tuple[str, str]:
    """Subject and body of the mail that proves a recovery address."""
    facts = Facts(account=account, code=code)
    text = [textwrap.fill(speech.translate(part) % facts, WIDTH) for part in (_CODE, _CODE_TODO)]
    foot = "-- \n" + textwrap.fill(f"{site}. {speech.translate(_FOOT)}", WIDTH)
    return f"{speech.translate(_CODE_TITLE)} – {site}", "\n\n".join([text[0], f"    {code}", text[1], foot]) + "\n"


def _words(kind: str, facts: Mapping[str, str]) -> Words:
    if kind == Kind.OLD_PROGRAM:
        reason = facts.get("reason", "")
        return OLD_PROGRAM[Reason(reason)] if reason in set(OLD_PROGRAM) else _UNSHAPED
    return WORDS[Kind(kind)] if kind in set(WORDS) else _OTHER


def _line(value: str) -> str:
    return "".join(c if c.isprintable() else " " for c in value)[:MAX_VALUE]
