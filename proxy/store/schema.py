"""The tables. Portable SQL types only: the same metadata serves SQLite and PostgreSQL.

A change here needs a revision in migrations/versions, and REVISION moved to it (tests hold the two together).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
    true,
)

REVISION = "0002"
"""The newest migration. Revisions are numbered so that older and newer can be told apart without Alembic."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)
"""Facts about the store itself: `store_id`, random, made once."""

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("address", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    # NULLs are distinct in both engines: unique where set. Two accounts with one would share a mailbox.
    Column("backend_name", String, unique=True),
    Column("display_name", String),
    Column("mfa", String, nullable=False),
    Column("admin", Boolean, nullable=False, server_default=false()),
    Column("owner_id", Integer, ForeignKey("accounts.id", ondelete="SET NULL"), index=True),
    Column("created", Double, nullable=False),
    # Sessions, caches, tags and audit know accounts by id: one that was removed must never come back as another.
    sqlite_autoincrement=True,
)

login_names = Table(
    "login_names",
    metadata,
    Column("name", String, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
)
"""Every spelling that leads to an account, its address included. Canonical form (domain/login_names.py)."""

members = Table(
    "members",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("person_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True),
)
"""Who may mint for a shared mailbox."""

account_passwords = Table(
    "account_passwords",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", String, nullable=False),
    Column("changed", Double, nullable=False),
)
"""Hashes of account passwords, apart from what a login reads: no query of the login path can reach them."""

app_passwords = Table(
    "app_passwords",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    # No foreign key: a tombstone keeps its owner's id when the owner is removed (ids are never reused).
    Column("owner_id", Integer, nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("scopes", String, nullable=False),
    Column("networks", String, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("ended", Double),
    Column("end_reason", String),
    Column("generation", Integer, nullable=False, server_default=text("1")),
    Column("pepper_version", Integer, nullable=False),
    Column("tag", BigInteger, nullable=False),
    Column("hash", String, nullable=False),
    Column("used_time", Double),
    Column("used_address", String),
    Column("used_protocol", String),
    Column("used_program", String),
    Column("messages", BigInteger, nullable=False, server_default=text("0")),
    Column("recipients", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("account_id", "tag"),
    sqlite_autoincrement=True,
)

_LIVE = app_passwords.c.ended.is_(None)
_CAN_EXPIRE = _LIVE & app_passwords.c.expires.is_not(None)

Index(
    "uq_app_passwords_live_name",
    app_passwords.c.account_id,
    app_passwords.c.name,
    unique=True,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)
Index("ix_app_passwords_due", app_passwords.c.expires, sqlite_where=_CAN_EXPIRE, postgresql_where=_CAN_EXPIRE)
Index(
    "ix_app_passwords_unused",
    app_passwords.c.used_time,
    app_passwords.c.created,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("first", Double, nullable=False),
    Column("time", Double, nullable=False),
    Column("reason", String, nullable=False),
    Column("protocol", String, nullable=False),
    Column("network", String, nullable=False),
    Column("program", String),
    Column("app_password_id", Integer),
    Column("count", Integer, nullable=False),
    Index(None, "account_id", "time"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("node", String, nullable=False),
    Column("time", Double, nullable=False, index=True),
    Column("event", String, nullable=False),
    Column("actor", String),
    Column("account", String),
    Column("account_id", Integer),
    Column("app_password", String),
    Column("protocol", String),
    Column("network", String),
    Column("reason", String),
    Column("detail", String),
    Column("salt", LargeBinary),
    Column("digest", LargeBinary, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("erased", Boolean, nullable=False, server_default=false()),
    Index(None, "node", "seq"),
    Index(None, "account", "seq"),
    sqlite_autoincrement=True,
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("node", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("chain", LargeBinary, nullable=False),
)
"""Where each node's chain ends: appending reads one row, and records cut off the end are missed."""

people = Table(
    "people",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("language", String),
    Column("recovery_address", String),
    Column("mfa_since", Double),
    Column("mint_after", Double),
    Column("bypass_until", Double),
    Column("must_change", Boolean, nullable=False, server_default=false()),
    Column("push_blocked", Boolean, nullable=False, server_default=false()),
    Column("stopped_until", Double),
)
"""What the portal knows about a person. One without a row has the defaults; no login reads it."""

devices = Table(
    "devices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("created", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("address", String, nullable=False),
    Column("remembered_until", Double),
    sqlite_autoincrement=True,  # the history and throttles know them by id
)
"""Browsers in which a person has signed in before. Each has a cookie; kept is its SHA-256."""

portal_sessions = Table(
    "portal_sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("stage", String, nullable=False),
    Column("created", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("expires", Double, nullable=False, index=True),
    Column("password_time", Double),
    Column("factor_time", Double),
    Column("device_id", Integer, ForeignKey("devices.id", ondelete="SET NULL"), index=True),
    Column("address", String, nullable=False),
    Column("agent", String, nullable=False),
    Column("notes", String, nullable=False),
    Column("provider_time", Double),
)
"""Signed in at the portal, or on the way there. `notes` is JSON: what a half-done step needs."""

factors = Table(
    "factors",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("created", Double, nullable=False),
    Column("used", Double),
    Column("sealed", LargeBinary),
    Column("public", String, nullable=False),
    Column("counter", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("account_id", "name"),
    sqlite_autoincrement=True,  # challenges know them by id
)
"""`sealed` only the portal key opens; `public` is JSON and no secret; `counter` only grows (TOTP step, passkey's)."""

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("code_hash", LargeBinary, primary_key=True),
    Column("used", Double),
)

enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("code_hash", String, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("issued_by", String, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("purpose", String, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False, index=True),
    Column("used", Double),
    Column("sealed", LargeBinary),
)
"""One-time links."""

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("time", Double, nullable=False),
    Column("outcome", String, nullable=False),
    Column("factor", String),
    Column("address", String, nullable=False),
    Column("network", String, nullable=False),
    Column("agent", String, nullable=False),
    Column("device_id", Integer),  # no foreign key: history outlives the device
    Index(None, "account_id", "outcome", "time"),
)

throttles = Table(
    "throttles",
    metadata,
    Column("key", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last", Double, nullable=False, index=True),
)

tries = Table(
    "tries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String, nullable=False),
    Column("time", Double, nullable=False),
    Index(None, "account_id", "kind"),
)
"""Wrong answers to a kind of factor, as far back as its limits look."""

challenges = Table(
    "challenges",
    metadata,
    Column("id_hash", LargeBinary, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("session_hash", LargeBinary, nullable=False),
    Column("kind", String, nullable=False),
    Column("factor_id", Integer, ForeignKey("factors.id", ondelete="CASCADE"), index=True),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False, index=True),
    Column("state", String, nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("sealed", LargeBinary),
    Index(None, "account_id", "created"),
)
"""Challenges that are answered elsewhere than in the browser that waits: push, sms, call."""

sent_codes = Table(
    "sent_codes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String, nullable=False),
    Column("prefix", String, nullable=False),
    Column("time", Double, nullable=False, index=True),
    Column("taken", Boolean, nullable=False),
    Index(None, "account_id", "time"),
)
"""Codes to phone numbers, as far back as their limits look; `prefix` is how the number begins."""

notices = Table(
    "notices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String, nullable=False),
    Column("created", Double, nullable=False),
    Column("due", Double, nullable=False),
    Column("sent", Double),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("channel", String, nullable=False),
    Column("recipient", String, nullable=False),
    Column("text", String, nullable=False),
    Index(None, "account_id", "created"),
)
"""The outbox: what people are told."""

_UNSENT = notices.c.sent.is_(None)

Index("ix_notices_due", notices.c.due, sqlite_where=_UNSENT, postgresql_where=_UNSENT)
