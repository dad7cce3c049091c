"""Two accounts must never be one mailbox: what backends call an account is nobody else's name there.

A backend calls an account by its own backend name or by the backend's `username` template. The configuration refuses
templates that give two accounts one name; a backend name that is also what a template makes of another is found here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.config.settings import Backend, Config, Strategy
from proxy.domain.addresses import templated
from proxy.store import accounts as store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy.store.accounts import NewAccount


def called(config: Config, address: str, backend_name: str | None) -> set[str]:
    """Every name that some backend calls the account by, folded: backends differ in whether they mind letter case."""
    if backend_name is not None:
        return {backend_name.lower()}
    return {templated(backend.username, address).lower() for backend in _naming(config)}


def holder(c: Connection, config: Config, new: NewAccount) -> str | None:
    """The address of the account that `new` would share a name with at a backend; None if there is none."""
    names = called(config, new.address, new.backend_name)
    taken = store.address_with_backend_name(c, names)
    if taken is not None or new.backend_name is None:
        return taken
    candidates = names | {f"{name}@{domain}" for name in names for domain in config.domains}
    for candidate in candidates:
        account = store.by_login_name(c, candidate)
        if account is None or account.address == new.address or account.backend_name is not None:
            continue
        if names & called(config, account.address, None):
            return account.address
    return None


def _naming(config: Config) -> list[Backend]:
    """Those that call an account by its backend name or by `username`: not one login for all, and not a DN."""
    unnamed = (Strategy.STATIC, Strategy.PROXIED_AUTHORIZATION, Strategy.SERVICE_IDENTITY)
    return [backend for backend in config.backends.values() if backend.login.strategy not in unnamed]
