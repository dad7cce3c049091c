"""What may go wrong with the store, for callers to catch."""

from __future__ import annotations


class StoreUnavailable(Exception):
    """The store cannot answer now; clients get the temporary reply. The text says where, what happened and what to do.

    After a *write* it means that nothing was acknowledged. Only where the text says so may it still have been done.
    """


class NotSetUp(StoreUnavailable):
    """It is not there, or its schema is not this version's: `sidegate init` or `migrate` helps, waiting does not."""


class NameTaken(ValueError):
    """A name that must be unique is in use. `what` is "login name", "backend name" or "app password"."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"{what} {name!r} is taken")
        self.what = what
        self.name = name


class TagTaken(ValueError):
    """Another app password of the account, live or ended, has the tag: mint again."""
