"""`sidegate mfa`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click

from proxy.cli.ask import confirm, dry_run_option, read_names, yes_option
from proxy.cli.base import Failure, SidegateCommand, SidegateGroup, TryAgain, core, load_config, quoted
from proxy.cli.show import counted, echo_json, json_option, note, only, safe
from proxy.domain.model import AccountKind, MfaState


@click.group(cls=SidegateGroup)
def mfa() -> None:
    """Who must pass a second factor at the portal.

    App passwords are needed on the fronts in every state.
    """


def _command(name: str, state: MfaState, help_text: str) -> None:
    def run(
        accounts: tuple[str, ...],
        every: bool,
        group: str | None,
        from_file: str | None,
        dry_run: bool,
        yes: bool,
        as_json: bool,
    ) -> None:
        if bool(accounts) + every + (group is not None) + (from_file is not None) != 1:
            raise click.UsageError("Name accounts, or give --all, --group or --from-file.")
        names = None if every else _named(accounts, group, from_file)
        _set_state(state, names, ask=not accounts, dry_run=dry_run, yes=yes, as_json=as_json)

    decorators: list[Callable[..., Callable[..., None]]] = [
        click.argument("accounts", nargs=-1, metavar="[ACCOUNT]..."),
        click.option("--all", "every", is_flag=True, help="Every person."),
        click.option("--group", metavar="G", help="Persons in a group of the LDAP directory: its DN, or its name."),
        click.option("--from-file", metavar="FILE|-", help="Accounts from a file or stdin (-), one a line."),
        dry_run_option,
        yes_option,
        json_option,
    ]
    callback: Callable[..., None] = run
    for decorate in reversed(decorators):
        callback = decorate(callback)
    mfa.add_command(click.command(name, cls=SidegateCommand, help=help_text)(callback))


_command("enable", MfaState.ENABLED, "A second factor is set up at the next sign-in.")
_command("enforce", MfaState.ENFORCED, "A second factor is asked for at every sign-in.")
_command("disable", MfaState.DISABLED, "No second factor at sign-in; making an app password still needs one.")


@mfa.command()
@click.argument("account")
@json_option
def reset(account: str, as_json: bool) -> None:
    """Take all second factors of a person away: they lost them, or somebody else has them.

    Recovery codes and known devices go too, and the person is signed out of
    the portal. App passwords stay. Make sure that it is the person who asks.
    """
    with core() as api:
        done = api.delete(f"accounts/{quoted(account)}/factors")
    if as_json:
        echo_json(only(done, ("account", "mfa", "factors", "devices", "sessions", "mint_after")))
        return
    gone = ", ".join(done["factors"]) or "none were left"
    note(f"{done['account']} has no second factor any more ({safe(gone)}) and is signed out of the portal.")
    note(f"Next: sidegate accounts enrolment-code {done['account']}")
    note("With that code they set up another one and may make app passwords at once.")
    note(f"Without it they make none for a day. Their app passwords go on: sidegate passwords list {done['account']}")


@mfa.command()
@click.argument("account")
@click.option(
    "--minutes", type=click.IntRange(0, 1440), required=True, metavar="N", help="For how long; 0 ends it at once."
)
@json_option
def bypass(account: str, minutes: int, as_json: bool) -> None:
    """Let a person in without a second factor for some minutes.

    To make or revoke app passwords they still need one.
    """
    with core() as api:
        done = api.post(f"accounts/{quoted(account)}/bypass", {"minutes": minutes})
    if as_json:
        echo_json(only(done, ("account", "until")))
    elif done["until"] is None:
        note(f"{done['account']} needs a second factor again.")
    else:
        note(f"{done['account']} signs in without a second factor for {counted(minutes, 'minute')}.")


@mfa.command()
@click.argument("account")
@json_option
def unblock(account: str, as_json: bool) -> None:
    """End what a person's report of fraud began.

    Their phones are asked again, and the account password need not be
    changed. A new account password does the same by itself.
    """
    with core() as api:
        done = api.post(f"accounts/{quoted(account)}/unblock", {})
    if as_json:
        echo_json(only(done, ("account", "unblocked")))
    elif done["unblocked"]:
        note(f"{done['account']} is asked on their phone again.")
    else:
        note(f"{done['account']} was not blocked.")


def _named(accounts: tuple[str, ...], group: str | None, from_file: str | None) -> list[str]:
    """The accounts that were chosen, by whichever way: at least one."""
    if group is not None:
        return _members(group)
    names = list(accounts) if from_file is None else read_names(from_file)
    if not names:
        raise click.UsageError(f"{from_file} names no accounts.")
    return names


def _members(group: str) -> list[str]:
    """Addresses of the persons in a group of the directory, which this process asks itself: only here is it needed."""
    from proxy.directory.ldap import Ldap, Unavailable

    settings = load_config(files=False, directory=True).directory
    if settings is None:
        raise Failure("sidegate's own directory has no groups: name accounts, or give them with --from-file")
    with core() as api:
        persons = [row["account"] for row in api.get("accounts") if row["kind"] == AccountKind.PERSON]

    async def ask() -> list[str]:
        directory = Ldap(settings)
        try:
            return await directory.members(persons, group)
        finally:
            await directory.close()

    try:
        members = asyncio.run(ask())
    except Unavailable as error:
        raise TryAgain(f"{settings.url} does not say who is in {safe(group)}: {safe(str(error))}") from None
    if not members:
        raise Failure(f"none of the {counted(len(persons), 'person')} is in a group {safe(group)} of {settings.url}")
    return members


def _set_state(state: MfaState, names: list[str] | None, *, ask: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Of these accounts, or of every person (None)."""
    body = {"state": state.value, "accounts": names or [], "all": names is None}
    with core() as api:
        if ask or dry_run:
            done = api.post("mfa", {**body, "dry_run": True}, patient=True)
        if not ask and not dry_run:
            done = api.post("mfa", body)
        elif not dry_run and done["changed"]:
            confirm(f"Set {counted(len(done['changed']), 'account')} to {state}?", yes=yes)
            done = api.post("mfa", body, patient=True)
    if as_json:
        echo_json(done)
        return
    verb = "would be" if dry_run else "are now" if len(done["changed"]) != 1 else "is now"
    note(f"{counted(len(done['changed']), 'account')} {verb} {state}, {done['unchanged']} were so already.")
