"""Reasons in words: what a refusal means and what to do. One row per domain.verdicts.Reason (a test holds that)."""

from __future__ import annotations

from typing import NamedTuple

from proxy.domain.verdicts import Reason


class Words(NamedTuple):
    """`todo` may hold {account}, the account's address."""

    meaning: str
    todo: str


_OURS = "Nothing is wrong with the app password. "

WORDS: dict[Reason, Words] = {
    Reason.NOT_APP_PASSWORD: Words(
        "what was typed is not an app password, most likely it was the account password",
        "Create one and put it into the program: sidegate passwords create {account} NAME",
    ),
    Reason.NOT_APP_PASSWORD_NAME: Words(
        "neither the name nor the secret can be right",
        "Set the program's user name to {account} and its password to an app password.",
    ),
    Reason.BAD_LOGIN_NAME: Words(
        "what was typed as user name cannot be a login name", "Set the program's user name to {account}."
    ),
    Reason.FOREIGN_DOMAIN: Words(
        "the account is in a domain that is not served here", "Add the domain to `domains:` in the configuration."
    ),
    Reason.AUTHZID_MISMATCH: Words(
        "the program asked to act as another account than the one it logs in as",
        "Clear the program's authorisation identity (authzid), or set it to {account}.",
    ),
    Reason.UNKNOWN_ACCOUNT: Words(
        "no account has that login name",
        "Add the account (sidegate accounts add), or correct the program's user name.",
    ),
    Reason.ACCOUNT_DISABLED: Words("the account is disabled", "Enable it: sidegate accounts enable {account}"),
    Reason.UNKNOWN_APP_PASSWORD: Words(
        "it looks like an app password, but it is none of this account's",
        "It may be another account's, or long gone: create a new one for this program.",
    ),
    Reason.REVOKED: Words(
        "the app password was revoked; this program still tries it",
        "Remove the account from that program, or give it a new app password.",
    ),
    Reason.EXPIRED: Words(
        "the app password has expired", "Create a new one for this program: sidegate passwords create {account} NAME"
    ),
    Reason.WRONG_SCOPE: Words(
        "the app password is not for this protocol",
        "Create one with the scope it needs: sidegate passwords create {account} NAME --scope imap,smtp",
    ),
    Reason.WRONG_NETWORK: Words(
        "the app password is tied to networks, and the program is in none of them",
        "Use it from there, or create one without --network, or with this one.",
    ),
    Reason.BEARER_UNSUPPORTED: Words(
        "the program sent an OAuth token, which this front does not take",
        "Set the program to normal password authentication and use an app password.",
    ),
    Reason.LIMITED: Words(
        "too many different wrong secrets came from there",
        "Wait; a right app password gets in at any time. Look for a program with a wrong secret.",
    ),
    Reason.TOO_MANY_SESSIONS: Words(
        "more sessions than limits.sessions_per_app_password or sessions_per_account allow",
        "See who is connected: sidegate sessions list {account}",
    ),
    Reason.TLS_REQUIRED: Words(
        "the program tried to log in without TLS",
        "Turn on SSL/TLS or STARTTLS in it. What it sent in the clear should be revoked.",
    ),
    Reason.SERVICE_NETWORK: Words(
        "a Bind as a service of service_accounts, from none of its networks",
        "If the service is there, add its network to service_accounts; else find out who knows its password.",
    ),
    Reason.SERVICE_REFUSED: Words(
        "the directory refused the Bind of a service that sidegate passes through",
        "Correct the service's password where it is configured, or its entry in the directory.",
    ),
    Reason.STORE_UNAVAILABLE: Words(
        "sidegate's store did not answer", _OURS + "See sidegate's log and `sidegate doctor`."
    ),
    Reason.CORE_UNAVAILABLE: Words(
        "sidegate's core did not answer", _OURS + "See sidegate's log and `sidegate doctor`."
    ),
    Reason.BACKEND_UNAVAILABLE: Words(
        "the server behind sidegate did not answer", _OURS + "See whether it runs: sidegate doctor"
    ),
    Reason.BACKEND_REFUSED_US: Words(
        "the server behind refused sidegate's own credential",
        _OURS + "Correct the backend's `login:` or the server's own configuration: sidegate doctor",
    ),
    Reason.BACKEND_UNKNOWN_ACCOUNT: Words(
        "the server behind does not know this account",
        "Create the mailbox there, or correct what the account is called there: sidegate accounts show {account}",
    ),
    Reason.BUSY: Words("sidegate had too much to do at that moment", _OURS + "The program will try again by itself."),
    Reason.INTERNAL_ERROR: Words(
        "sidegate failed; this is a bug", "Please report it with the log lines of that moment."
    ),
}


def explain(reason: str, account: str) -> Words:
    """The words for a reason as stored; one that this version does not know is told as it is."""
    try:
        words = WORDS[Reason(reason)]
    except ValueError:
        return Words(reason, "This reason was recorded by another version of sidegate.")
    return Words(words.meaning, words.todo.format(account=account))
