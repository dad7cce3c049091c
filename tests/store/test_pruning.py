from sqlalchemy import Connection, func, select

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.sign_in import LIFE
from proxy.store import (
    accounts,
    challenges,
    codes,
    devices,
    factors,
    links,
    notices,
    people,
    portal_sessions,
    pruning,
    schema,
    sent_codes,
    sign_ins,
    throttles,
    tries,
)
from proxy.store.engine import Store
from proxy.store.factors import NewFactor
from proxy.store.links import Purpose
from tests.store import rows
from tests.store.test_challenges import challenge
from tests.store.test_portal_sessions import session
from tests.store.test_sign_ins import sign_in

OF_A_PERSON = {
    table.name
    for table in schema.metadata.tables.values()
    if any(key.column.table is schema.accounts for key in table.foreign_keys)
} - {"accounts"}


def everything_of(c: Connection, account_id: int) -> None:
    """A row in every table of the portal."""
    people.change(c, account_id, language="es")
    phone = factors.add(c, account_id, NewFactor(FactorKind.PUSH, "phone"), 10.0)
    assert phone is not None
    device = devices.add(c, account_id, b"device", "Firefox", 10.0, "192.0.2.7")
    portal_sessions.add(c, session(account_id, device_id=device.id))
    codes.set_recovery(c, account_id, [b"code"])
    codes.issue_enrolment(c, account_id, "$argon2id$", now=10.0, expires=100.0, issued_by="operator:0")
    links.add(c, b"link", account_id, Purpose.SET_PASSWORD, now=10.0, expires=100.0)
    sign_ins.record(c, sign_in(account_id, 10.0))
    tries.count(c, account_id, FactorKind.TOTP, [tries.Limit(5, 30.0)], 10.0)
    challenges.add(c, challenge(account_id, factor_id=phone.id))
    sent_codes.add(c, account_id, FactorKind.SMS, "346123", 10.0)
    notices.add(c, account_id, "new_device", channel="mail", recipient="a@example.net", text={}, now=10.0)


def counts(c: Connection) -> dict[str, int]:
    tables = schema.metadata.tables
    return {name: c.execute(select(func.count()).select_from(tables[name])).scalar_one() for name in OF_A_PERSON}


def test_an_account_takes_everything_along(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        rows.app_password(c, alice.id)
        accounts.set_password_hash(c, alice.id, "$argon2id$", 1.0)
        everything_of(c, alice.id)
        empty = {name for name, count in counts(c).items() if count == 0}
        assert empty == {"members", "refusals"}  # login path; tests of their own
        accounts.remove(c, alice.id, 2000.0)
        assert set(counts(c).values()) == {0}


def test_what_is_over_is_forgotten_everywhere(store: Store) -> None:
    with store.writing() as c:
        everything_of(c, rows.account(c).id)
        throttles.failed(c, ["password:account:1"], 10.0)
        assert pruning.prune(c, 50.0) == 0
        assert pruning.prune(c, LIFE + 1e9) == 6
        left = {name for name, count in counts(c).items() if count}
        assert left == {
            "login_names",
            "people",
            "devices",
            "factors",
            "recovery_codes",
            "enrolment_codes",
            "sign_ins",
            "tries",
        }
