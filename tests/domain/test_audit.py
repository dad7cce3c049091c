from dataclasses import fields, replace

from proxy.domain.audit import CHAIN_START, AuditEvent, Event, chain, digest

RECORD = AuditEvent(
    1.5, Event.LOGIN_ACCEPTED, "client", "alice@example.org", 7, "Phone", "imap", "192.0.2.1/32", None, "x"
)


def test_the_digest_covers_every_field_and_the_salt() -> None:
    base = digest(RECORD, b"s" * 16)
    changed = {
        "time": 1.6,
        "event": Event.LOGIN_REFUSED,
        "actor": "other",
        "account": "bob",
        "account_id": 8,
        "app_password": "Desk",
        "protocol": "smtp",
        "network": "192.0.2.2/32",
        "reason": "revoked",
        "detail": "y",
    }
    assert set(changed) == {field.name for field in fields(AuditEvent)}
    others = [digest(replace(RECORD, **{name: value}), b"s" * 16) for name, value in changed.items()]  # type: ignore[arg-type]
    assert len({base, *others, digest(RECORD, b"t" * 16)}) == len(others) + 2


def test_fields_do_not_run_into_each_other() -> None:
    one = replace(RECORD, reason="ab", detail="c")
    other = replace(RECORD, reason="a", detail="bc")
    assert digest(one, b"") != digest(other, b"")


def test_the_chain_depends_on_the_order() -> None:
    a, b = digest(RECORD, b"a"), digest(RECORD, b"b")
    assert chain(chain(CHAIN_START, a), b) != chain(chain(CHAIN_START, b), a)
    assert len(chain(CHAIN_START, a)) == 32
