"""Accounts, their login names, members of shared mailboxes, and account password hashes (apart from all else)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from proxy.domain.model import Account, AccountKind, AppPasswordRecord, EndReason, MfaState
from proxy.domain.secret import Secret
from proxy.store import app_passwords
from proxy.store.errors import NameTaken
from proxy.store.schema import account_passwords as password_table
from proxy.store.schema import accounts as table
from proxy.store.schema import app_passwords as app_password_table
from proxy.store.schema import login_names
from proxy.store.schema import members as member_table

Item = TypeVar("Item")

SLICE = 100
"""Accounts per `add_many` that stay under the 50 ms a bulk change may hold the writer (15 ms on a busy machine)."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to add. Names are canonical; `aliases` are the login names besides the address."""

    address: str
    created: float
    kind: AccountKind = AccountKind.PERSON
    aliases: tuple[str, ...] = ()
    backend_name: str | None = None
    display_name: str | None = None
    mfa: MfaState = MfaState.DISABLED
    admin: bool = False
    owner_id: int | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One row of a listing: the account and how many app passwords for it have not ended."""

    account: Account
    app_passwords: int


_every_name = login_names.alias("every_name")
_accounts = (
    select(table, _every_name.c.name.label("login_name"))
    .join(_every_name, _every_name.c.account_id == table.c.id)
    .order_by(table.c.address, _every_name.c.name)
)
_by_login_name = _accounts.where(
    table.c.id == select(login_names.c.account_id).where(login_names.c.name == bindparam("name")).scalar_subquery()
)
_by_id = _accounts.where(table.c.id == bindparam("id"))


def by_login_name(c: Connection, name: str) -> Account | None:
    """The account a canonical login name leads to. One statement, one index probe: on the login path."""
    rows = c.execute(_by_login_name, {"name": name}).all()
    return _account(rows) if rows else None


def address_with_backend_name(c: Connection, names: Iterable[str]) -> str | None:
    """The address of an account whose own backend name, letter case aside, is one of these lower-case names."""
    found = select(table.c.address).where(func.lower(table.c.backend_name).in_(list(names))).limit(1)
    return c.execute(found).scalar_one_or_none()


def by_id(c: Connection, account_id: int) -> Account | None:
    """The account with this id."""
    rows = c.execute(_by_id, {"id": account_id}).all()
    return _account(rows) if rows else None


def by_ids(c: Connection, account_ids: Iterable[int]) -> dict[int, Account]:
    """Those of these accounts that exist, by id."""
    found: dict[int, Account] = {}
    for part in _slices(sorted(set(account_ids))):
        rows = c.execute(_accounts.where(table.c.id.in_(part))).all()
        found.update((account.id, account) for account in _read(rows))
    return found


def ids_after(c: Connection, after: int, limit: int) -> list[int]:
    """Ids of all accounts, for paging through them."""
    return list(c.execute(select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(limit)).scalars())


def admins(c: Connection) -> list[Account]:
    """The persons who look after the others, those disabled left out."""
    rows = c.execute(_accounts.where(table.c.admin, table.c.enabled, table.c.kind == AccountKind.PERSON.value)).all()
    return list(_read(rows))


def listing(
    c: Connection,
    *,
    mfa: MfaState | None = None,
    no_app_passwords: bool = False,
    after: str | None = None,
    limit: int | None = None,
) -> list[AccountRow]:
    """Accounts by address; those behind address `after`, at most `limit`, for paging through many."""
    of_it = (app_password_table.c.account_id == table.c.id) & app_password_table.c.ended.is_(None)
    live = select(func.count()).select_from(app_password_table).where(of_it).scalar_subquery()
    chosen = select(table.c.id)
    if mfa is not None:
        chosen = chosen.where(table.c.mfa == mfa.value)
    if no_app_passwords:
        chosen = chosen.where(~exists().where(of_it))
    if after is not None:
        chosen = chosen.where(table.c.address > after)
    chosen = chosen.order_by(table.c.address).limit(limit)
    rows = c.execute(_accounts.add_columns(live.label("live")).where(table.c.id.in_(chosen))).all()
    counts = {row.id: row.live for row in rows}
    return [AccountRow(account, counts[account.id]) for account in _read(rows)]


def add(c: Connection, new: NewAccount) -> Account:
    """Add one account. Raises NameTaken and adds nothing."""
    return add_many(c, [new])[0]


def add_many(c: Connection, new: Sequence[NewAccount]) -> list[Account]:
    """Add accounts, all or (NameTaken) none, in the order given. Callers cut big imports into SLICEs."""
    if not new:
        return []
    names = [(name, account) for account in new for name in dict.fromkeys((account.address, *account.aliases))]
    _refuse_taken(c, names, new)
    try:
        with c.begin_nested():
            ids = _insert(c, names, new)
    except IntegrityError as error:
        if "login_names" in str(error.orig) or "address" in str(error.orig):
            raise NameTaken("login name", new[0].address) from None
        raise
    return [
        Account(
            id=ids[a.address],
            address=a.address,
            kind=a.kind,
            enabled=a.enabled,
            backend_name=a.backend_name,
            display_name=a.display_name,
            mfa=a.mfa,
            admin=a.admin,
            owner_id=a.owner_id,
            created=a.created,
            login_names=(a.address, *sorted(set(a.aliases) - {a.address})),
        )
        for a in new
    ]


def _refuse_taken(c: Connection, names: list[tuple[str, NewAccount]], new: Sequence[NewAccount]) -> None:
    for what, wanted, column in (
        ("login name", [name for name, _ in names], login_names.c.name),
        ("backend name", [a.backend_name for a in new if a.backend_name is not None], table.c.backend_name),
    ):
        seen: set[str] = set()
        for name in wanted:
            if name in seen:
                raise NameTaken(what, name)
            seen.add(name)
        for part in _slices(wanted):
            taken = c.execute(select(column).where(column.in_(part)).limit(1)).scalar()
            if taken is not None:
                raise NameTaken(what, taken)


def _insert(c: Connection, names: list[tuple[str, NewAccount]], new: Sequence[NewAccount]) -> dict[str, int]:
    rows = c.execute(
        insert(table).returning(table.c.address, table.c.id),
        [
            {
                "address": a.address,
                "kind": a.kind.value,
                "enabled": a.enabled,
                "backend_name": a.backend_name,
                "display_name": a.display_name,
                "mfa": a.mfa.value,
                "admin": a.admin,
                "owner_id": a.owner_id,
                "created": a.created,
            }
            for a in new
        ],
    )
    ids: dict[str, int] = {row.address: row.id for row in rows}
    c.execute(insert(login_names), [{"name": name, "account_id": ids[a.address]} for name, a in names])
    return ids


def add_login_names(c: Connection, account_id: int, names: Iterable[str]) -> list[str]:
    """Have canonical names lead to an account; returns those that did not yet. Raises NameTaken."""
    added: list[str] = []
    for name in names:
        there = c.execute(select(login_names.c.account_id).where(login_names.c.name == name)).scalar()
        if there is None:
            c.execute(insert(login_names), {"name": name, "account_id": account_id})
            added.append(name)
        elif there != account_id:
            raise NameTaken("login name", name)
    return added


def remove_login_names(c: Connection, account_id: int, names: Iterable[str]) -> None:
    """Have these names lead to the account no more. Its address must not be among them."""
    chosen = login_names.c.name.in_(list(names))
    c.execute(delete(login_names).where(login_names.c.account_id == account_id, chosen))


def set_enabled(c: Connection, account_id: int, enabled: bool) -> bool:
    """Enable or disable; False when it already was so (or is not there).

    Disabling raises the generation of its app passwords, so that a login in flight is noticed.
    """
    changed = c.execute(
        update(table).where(table.c.id == account_id, table.c.enabled != enabled).values(enabled=enabled)
    ).rowcount
    if changed and not enabled:
        app_passwords.raise_generation(c, account_id)
    return bool(changed)


def set_mfa(c: Connection, account_ids: Iterable[int], state: MfaState) -> list[int]:
    """Set the MFA state; returns the ids whose state changed, ascending."""
    changed: list[int] = []
    for part in _slices(list(account_ids)):
        statement = update(table).where(table.c.id.in_(part), table.c.mfa != state.value).values(mfa=state.value)
        changed += c.execute(statement.returning(table.c.id)).scalars()
    return sorted(changed)


def remove(c: Connection, account_id: int, when: float) -> list[AppPasswordRecord]:
    """Remove an account and all that is its own. Returns the app passwords that were live until now, as ended: those
    for it, and those its person had minted for shared mailboxes (which stay there as tombstones).
    Service accounts it answered for are left without an owner.
    """
    live = app_passwords.live_ids(c, account_id=account_id) + app_passwords.live_ids(c, owner_id=account_id)
    ended = app_passwords.end(c, live, when, EndReason.ACCOUNT_REMOVED)
    c.execute(delete(table).where(table.c.id == account_id))
    return ended


def members(c: Connection, account_id: int) -> list[Account]:
    """The persons who may mint for a shared mailbox, by address."""
    persons = select(member_table.c.person_id).where(member_table.c.account_id == account_id)
    return list(_read(c.execute(_accounts.where(table.c.id.in_(persons)))))


def memberships(c: Connection, person_id: int) -> list[Account]:
    """The shared mailboxes a person may mint for, by address."""
    mailboxes = select(member_table.c.account_id).where(member_table.c.person_id == person_id)
    return list(_read(c.execute(_accounts.where(table.c.id.in_(mailboxes)))))


def add_member(c: Connection, account_id: int, person_id: int) -> bool:
    """Make a person a member of a shared mailbox; False when they already are."""
    there = exists().where(member_table.c.account_id == account_id, member_table.c.person_id == person_id)
    if c.execute(select(there)).scalar():
        return False
    c.execute(insert(member_table), {"account_id": account_id, "person_id": person_id})
    return True


def remove_member(c: Connection, account_id: int, person_id: int, when: float) -> list[AppPasswordRecord]:
    """End a membership and the app passwords the person had minted for the mailbox; returns those that were live."""
    c.execute(
        delete(member_table).where(member_table.c.account_id == account_id, member_table.c.person_id == person_id)
    )
    ids = app_passwords.live_ids(c, account_id=account_id, owner_id=person_id)
    return app_passwords.end(c, ids, when, EndReason.REVOKED)


def set_password_hash(c: Connection, account_id: int, phc: str, when: float) -> None:
    """Store the PHC string of an account password (the portal's first step; no front reads it)."""
    c.execute(delete(password_table).where(password_table.c.account_id == account_id))
    c.execute(insert(password_table), {"account_id": account_id, "hash": phc, "changed": when})


def password_hash(c: Connection, account_id: int) -> Secret | None:
    """PHC string of the account password, for the portal's sign-in only."""
    phc = c.execute(select(password_table.c.hash).where(password_table.c.account_id == account_id)).scalar()
    return None if phc is None else Secret(phc)


def _read(rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterator[Account]:
    """Rows of `_accounts`, which come account by account."""
    return (_account(list(group)) for _, group in groupby(rows, key=lambda row: row.id))


def _account(rows: Sequence[Row[*tuple[Any, ...]]]) -> Account:
    """The rows of one account, one per login name. Unpacked by position: by name costs the login path 15 us."""
    id_, address, kind, enabled, backend_name, display_name, mfa, admin, owner_id, created = rows[0][:10]
    return Account(
        id=id_,
        address=address,
        kind=AccountKind(kind),
        enabled=enabled,
        backend_name=backend_name,
        display_name=display_name,
        mfa=MfaState(mfa),
        admin=admin,
        owner_id=owner_id,
        created=created,
        login_names=(address, *(row[10] for row in rows if row[10] != address)),
    )


def _slices(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[i : i + 500] for i in range(0, len(items), 500))
