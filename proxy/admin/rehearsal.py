"""`sidegate auth test`: what the gatekeeper would say to a secret, with the true reason. No session, no history."""

from __future__ import annotations

import asyncio
from typing import TypedDict

from proxy.admin.desk import Desk, Invalid
from proxy.admin.reasons import explain
from proxy.domain import app_passwords as secrets
from proxy.domain.backend_login import BackendLogin, XclientLogin
from proxy.domain.gatekeeper import LiveSessions, decide, name_to_look_up
from proxy.domain.model import Account, AppPassword, AppPasswordRecord, ClientInfo, LoginAttempt, Protocol
from proxy.domain.networks import parse_address
from proxy.domain.secret import Secret
from proxy.domain.verdicts import SHOWN, Accepted, Reason, Refused
from proxy.store import accounts, candidates, hashing


class Answer(TypedDict):
    """What would happen, and why."""

    accepted: bool
    account: str | None
    app_password: str | None
    """Its name, where the secret is one of the account's, also a tombstone's."""
    reason: str | None
    shown: str | None
    """What the client would be told (domain.verdicts.Shown)."""
    meaning: str
    todo: str


async def rehearse(
    desk: Desk, login_name: str, secret: Secret, *, protocol: str = "imap", address: str = "::1"
) -> Answer:
    """Weigh a login as if it came from `address` by `protocol`. Limits do not count: a right one gets in always."""
    try:
        wanted = Protocol(protocol)
        parse_address(address)
    except ValueError as error:
        raise Invalid(str(error)) from None
    attempt = LoginAttempt(
        session_id="",
        protocol=wanted,
        front="",
        backend="",
        login_name=login_name,
        authzid="",
        credential=AppPassword(secret),
        mechanism="PLAIN",
        client=ClientInfo(address, 0, "", 0, "TLSv1.3"),
    )
    rules = desk.config.rules()
    name = name_to_look_up(attempt, rules)
    letters = secrets.normalize(secret.reveal())
    if isinstance(name, Refused):
        return _refused(attempt, name if letters is not None else Refused(Reason.NOT_APP_PASSWORD_NAME), None, None)
    if letters is None:
        account = await desk.store.read(accounts.by_login_name, name)
        return _refused(attempt, Refused(Reason.NOT_APP_PASSWORD), account, None)
    account, found = await desk.store.read(candidates.of_attempt, name, letters, desk.peppers)
    record = await asyncio.to_thread(_matching, found, letters)
    live = LiveSessions(
        desk.sessions.count_app_password(record.id) if record is not None else 0,
        desk.sessions.count_account(account.id) if account is not None else 0,
    )
    verdict = decide(attempt, rules, account=account, app_password=record, live=live, now=desk.clock(), login=_no_login)
    if isinstance(verdict, Accepted):
        return {
            "accepted": True,
            "account": verdict.account,
            "app_password": verdict.app_password,
            "reason": None,
            "shown": None,
            "meaning": "this login would be accepted, if the server behind takes it",
            "todo": "",
        }
    return _refused(attempt, verdict, account, record)


def _matching(found: list[AppPasswordRecord], letters: str) -> AppPasswordRecord | None:
    return next((record for record in found if hashing.verify(record.hash.reveal(), letters)), None)


def _no_login(account: Account) -> BackendLogin:
    """Nothing is presented to a backend here."""
    return XclientLogin(account.address)


def _refused(
    attempt: LoginAttempt, refused: Refused, account: Account | None, record: AppPasswordRecord | None
) -> Answer:
    words = explain(refused.reason, account.address if account is not None else attempt.login_name)
    return {
        "accepted": False,
        "account": account.address if account is not None else None,
        "app_password": record.name if record is not None else None,
        "reason": refused.reason.value,
        "shown": SHOWN[refused.reason].value,
        "meaning": words.meaning,
        "todo": words.todo,
    }
