"""Rows to start from: only what a test is about needs saying."""

import itertools

from sqlalchemy import Connection

from proxy.domain.model import DEFAULT_SCOPES, Account, AppPasswordRecord
from proxy.domain.secret import Secret
from proxy.store import accounts, app_passwords
from proxy.store.accounts import NewAccount
from proxy.store.app_passwords import NewAppPassword

_tags = itertools.count(1)


def account(c: Connection, address: str = "alice@example.org", **fields: object) -> Account:
    return accounts.add(c, NewAccount(**{"address": address, "created": 1000.0, **fields}))


def new_app_password(account_id: int, name: str = "phone", **fields: object) -> NewAppPassword:
    defaults = {
        "account_id": account_id,
        "owner_id": account_id,
        "name": name,
        "scopes": DEFAULT_SCOPES,
        "networks": (),
        "created": 1000.0,
        "expires": None,
        "pepper_version": 1,
        "tag": next(_tags),
        "hash": Secret("$argon2id$not-a-real-one"),
    }
    return NewAppPassword(**{**defaults, **fields})


def app_password(c: Connection, account_id: int, name: str = "phone", **fields: object) -> AppPasswordRecord:
    return app_passwords.add(c, new_app_password(account_id, name, **fields))
