"""What people are told, and when: at once, at most three times a day, or on their history page and once a week.

An outsider must not be able to have mail sent: of programs that were not let in (DESIGN section 4) a person is told at
once only about what looks like their own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from proxy.domain.verdicts import Reason

DAY = 86400.0
WEEK = 7 * DAY
MOST_A_DAY = 3
"""Notices about their own account that reach a person at once within a day; what is more is for their history page."""
MOST_A_DAY_TO_ADMINS = 10
KEEP_TRYING = 2 * DAY
"""Seconds after which a notice that nobody takes is given up."""
RETRY = (60.0, 300.0, 1800.0, 7200.0)
"""Seconds from one try to the next; the last one from then on."""


class Kind(StrEnum):
    """What a notice is about. In brackets the facts that its words use; all are text, and may be missing."""

    SIGNED_IN = "signed_in"
    """From a new device or network. [agent, address, device_id]"""
    APP_PASSWORD_CREATED = "app_password_created"
    """[name, account (of a shared mailbox), by (`operator` or `person`), app_password_id, address, agent]"""
    FACTOR_ADDED = "factor_added"
    """[factor (its kind), name, factor_id, address, agent]"""
    FACTOR_REMOVED = "factor_removed"
    """[factor, name, address, agent]"""
    RECOVERY_CODES_MADE = "recovery_codes_made"
    """[address, agent]"""
    RECOVERY_CODE_USED = "recovery_code_used"
    """[left, agent, address, device_id]"""
    FACTORS_RESET = "factors_reset"
    """By an operator. []"""
    ACCOUNT_PASSWORD_CHANGED = "account_password_changed"
    """[address, agent]"""
    RECOVERY_ADDRESS_CHANGED = "recovery_address_changed"
    """[recovery_address (the new one, or nothing), address, agent]"""
    RECOVERY_ADDRESS_CODE = "recovery_address_code"
    """A code was sent to an address that is to become the recovery address. [recovery_address]"""
    OLD_PROGRAM = "old_program"
    """A program without a right app password. [reason, protocol, program, network, name (of the app password)]"""
    DIGEST = "digest"
    """Once a week at most: what they were not told at once. [notices, tries]"""
    FRAUD_REPORTED = "fraud_reported"
    """To admins. [account, address, agent, factor]"""
    BREAK_GLASS = "break_glass"
    """To admins: a sign-in past the identity provider. [account, address, agent]"""
    NOT_ME = "not_me"
    """To admins: a person says that something was not them. [account, what (a Kind)]"""
    MAIL_FAILING = "mail_failing"
    """To admins. [reason]"""
    GATEWAY_FAILING = "gateway_failing"
    """To admins: what sends text messages, calls or push. [gateway (a factor's kind), reason]"""


class Channel(StrEnum):
    """How a person is reached, the best first."""

    PUSH = "push"
    RECOVERY = "recovery"
    """By mail to the recovery address."""
    MAILBOX = "mailbox"
    """By mail to the account's own address."""
    PAGE = "page"
    """Not at all: they find it on their history page."""


TO_ADMINS = frozenset({Kind.FRAUD_REPORTED, Kind.BREAK_GLASS, Kind.NOT_ME, Kind.MAIL_FAILING, Kind.GATEWAY_FAILING})
EVERY_WAY = frozenset({Kind.FACTORS_RESET, Kind.RECOVERY_ADDRESS_CHANGED})
"""What is told over every channel as it was before: whoever did it may have made one of them theirs."""
NEVER_HELD_BACK = frozenset({Kind.FACTORS_RESET, Kind.DIGEST})
"""What is told however much was told today. Only an operator resets, and there is one digest a week."""
ONCE_A_DAY = frozenset({Kind.OLD_PROGRAM, Kind.MAIL_FAILING})
"""What comes of itself, or from outside: one of these must not use up what a day has room for."""


def allowance(kind: Kind) -> tuple[Collection[Kind], int]:
    """The kinds that are counted with this one, and how many of them a person is told at once within a day."""
    if kind in TO_ADMINS:
        return TO_ADMINS, MOST_A_DAY_TO_ADMINS
    return frozenset(Kind) - TO_ADMINS - {Kind.DIGEST, Kind.RECOVERY_ADDRESS_CODE}, MOST_A_DAY


def at_once(kind: Kind, told_today: int, of_this_kind: int) -> bool:
    """Whether a notice goes out now. `told_today`: of the kinds it is counted with; `of_this_kind` are among them."""
    if kind in NEVER_HELD_BACK:
        return True
    if kind in ONCE_A_DAY and of_this_kind:
        return False
    return told_today < allowance(kind)[1]


def retry_after(tries: int) -> float:
    """Seconds until a notice that was tried this often (1: once) is tried again."""
    return RETRY[min(tries, len(RETRY)) - 1]


# ---- programs that were not let in -------------------------------------------------------------

_OWN_FAULT = frozenset({Reason.NOT_APP_PASSWORD, Reason.BEARER_UNSUPPORTED, Reason.REVOKED, Reason.EXPIRED})
"""No app password, or one that is no more: what the owner of an old phone can do something about."""


@dataclass(frozen=True, slots=True)
class Past:
    """What an account's own programs and browsers looked like when they were let in."""

    networks: frozenset[str] = frozenset()
    """/32 or /64 (domain/networks.network_of)."""
    programs: frozenset[str] = frozenset()


def is_own_fault(reason: Reason | str) -> bool:
    """Whether a refusal is of the sort that a person is told of at once, if the program is theirs."""
    return reason in _OWN_FAULT


def is_their_own(past: Past, reason: Reason | str, network: str, program: str | None, tombstone: bool) -> bool:
    """Whether a program that was not let in looks like the account's own. `tombstone`: it sent an app password that
    once was good.

    A network of theirs is enough. What a program calls itself is not, anybody can say "Thunderbird" to a thousand
    accounts: it counts beside a secret that was theirs, or from the neighbourhood of one of their networks (a phone's
    address changes within its provider's).
    """
    if not is_own_fault(reason):
        return False
    if network in past.networks:
        return True
    if program is None or program not in past.programs:
        return False
    return tombstone or neighbourhood(network) in map(neighbourhood, past.networks)


def is_new_place(network: str, networks: Collection[str]) -> bool:
    """Whether a sign-in in a known device is from somewhere else than all before: no network near it."""
    return neighbourhood(network) not in map(neighbourhood, networks)


def neighbourhood(network: str) -> str:
    """The /16 or /32 around a network_of: most often one provider's addresses of one region."""
    try:
        parsed = ipaddress.ip_network(network)
    except ValueError:
        return network
    return str(parsed.supernet(new_prefix=16 if parsed.version == 4 else 32))


# ---- the weekly digest ---------------------------------------------------------------------------


def digest_due(now: float, last_digest: float | None, untold: Sequence[float]) -> bool:
    """Whether what a person was not told (times, since the last digest) is to be summed up: a week after the digest
    before, or after the first of it."""
    if not untold:
        return False
    return now - (min(untold) if last_digest is None else last_digest) >= WEEK
