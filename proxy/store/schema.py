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

REVISION = "0001"
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
