"""`sidegate mfa`."""

from __future__ import annotations

from collections.abc import Callable

import click

from proxy.cli.ask import confirm, dry_run_option, read_names, yes_option
from proxy.cli.base import SidegateCommand, SidegateGroup, core, quoted
from proxy.cli.show import counted, echo_json, json_option, note, only, safe
from proxy.domain.model import MfaState


@click.group(cls=SidegateGroup)
def mfa() -> None:
    """Who must pass a second factor at the portal.

    App passwords are needed on the fronts in every state.
    """


def _command(name: str, state: MfaState, help_text: str) -> None:
    def run(
        accounts: tuple[str, ...], every: bool, from_file: str | None, dry_run: bool, yes: bool, as_json: bool
    ) -> None:
        _set_state(state, accounts, every=every, from_file=from_file, dry_run=dry_run, yes=yes, as_json=as_json)

    decorators: list[Callable[..., Callable[..., None]]] = [
        click.argument("accounts", nargs=-1, metavar="[ACCOUNT]..."),
        click.option("--all", "every", is_flag=True, help="Every person."),
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


def _set_state(
    state: MfaState,
    accounts: tuple[str, ...],
    *,
    every: bool,
    from_file: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    if bool(accounts) + every + (from_file is not None) != 1:
        raise click.UsageError("Name accounts, or give --all or --from-file.")
    names = list(accounts) if from_file is None else read_names(from_file)
    if not every and not names:
        raise click.UsageError(f"{from_file} names no accounts.")
    body = {"state": state.value, "accounts": names, "all": every}
    with core() as api:
        if not accounts or dry_run:
            done = api.post("mfa", {**body, "dry_run": True}, patient=True)
        if accounts and not dry_run:
            done = api.post("mfa", body)
        elif not dry_run and done["changed"]:
            confirm(f"Set {counted(len(done['changed']), 'account')} to {state}?", yes=yes)
            done = api.post("mfa", body, patient=True)
    if as_json:
        echo_json(done)
        return
    verb = "would be" if dry_run else "are now" if len(done["changed"]) != 1 else "is now"
    note(f"{counted(len(done['changed']), 'account')} {verb} {state}, {done['unchanged']} were so already.")
