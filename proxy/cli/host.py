"""Commands about this host: init, migrate, serve, check, doctor, demo."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.base import REFUSED, Failure, SidegateCommand, config_path, load_config
from proxy.cli.show import counted, echo_json, json_option, note, safe

if TYPE_CHECKING:
    from proxy.config.settings import Config


@click.command(cls=SidegateCommand)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep everything here; else it is gone.",
)
@click.option("--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Write ports and accounts here.")
def demo(directory: Path | None, ready_file: Path | None) -> None:
    """Try sidegate on this machine: everything on loopback, with mail servers of its own."""
    from proxy.demo.main import run

    raise SystemExit(run(directory, ready_file))


@click.command(cls=SidegateCommand)
@click.option("--role", type=click.Choice(["core", "front", "portal"]), help="Only this part, for a unit of its own.")
def serve(role: str | None) -> None:
    """Run sidegate in the foreground. Prints `ready` once every front accepts."""
    from proxy.supervisor import Role, run

    raise SystemExit(run(config_path(), Role(role) if role is not None else None))


@click.command(cls=SidegateCommand)
def init() -> None:
    """Make keys and store, where they are missing. What is there stays as it is.

    Run by root, it does so as the user that owns the state directory.
    """
    from proxy import keyfiles
    from proxy.backends import keys
    from proxy.cli.sharing import SHARED_FOLDER
    from proxy.store.engine import rehearse_migration

    config = load_config(files=False)
    rehearse_migration()  # the owner may not be able to read what it imports
    become_owner(config.state_dir)
    try:
        if config.portal.user is not None and config.state_dir.is_dir():
            config.state_dir.chmod(SHARED_FOLDER)
        made = [keys.create(config.state_dir), keyfiles.create_portal_key(config.state_dir)]
    except OSError as error:
        raise Failure(f"{error.filename or config.state_dir} cannot be made: {error.strerror}") from None
    note(f"{config.state_dir / keyfiles.FOLDER}: {'keys made' if any(made) else 'keys are there already'}")
    _migrate(config)
    note("Back the keys up: without them app passwords and second factors are lost.")
    note("Next: sidegate check, then sidegate serve")


@click.command(cls=SidegateCommand)
def migrate() -> None:
    """Bring the store to the schema of this version. Stop sidegate first."""
    from proxy.store.engine import rehearse_migration

    config = load_config(files=False)
    rehearse_migration()
    become_owner(config.state_dir)
    _migrate(config)


def _migrate(config: Config) -> None:
    from proxy.store.engine import Store
    from proxy.store.errors import StoreUnavailable

    try:
        with closing(Store(config.store)) as store:
            store.migrate(shared=config.portal.user is not None)
            where = store.where
    except StoreUnavailable as error:
        raise Failure(str(error)) from None
    note(f"{where}: the schema is this version's")


def become_owner(directory: Path) -> None:
    """Let root act as the user that owns `directory`: root's own files there could not be read by the service, and
    changing their owner afterwards could be led astray by links in a directory that is another user's."""
    if os.geteuid() == 0 and directory.is_dir():
        owner = directory.stat()
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


@click.command(cls=SidegateCommand)
def check() -> None:
    """Validate the configuration and the files it names. Starts nothing, contacts nobody."""
    from proxy.admin.exposure import exposures
    from proxy.cli import sharing
    from proxy.cli.doctor.portal import remarks

    config = load_config(files=True)
    for warning in (*config.warnings, *exposures(config)):
        note(f"warning: {warning}")
    for text, todo in (*sharing.problems(config), *remarks(config)):
        note(f"warning: {text}; {todo}")
    if config.portal.mail is None:
        note("warning: portal.mail is missing: what people are told, they find on their history page only")
    click.echo(f"{config.path}: the configuration is valid")


@click.command(cls=SidegateCommand)
@json_option
def doctor(as_json: bool) -> None:
    """Look at everything: configuration, keys, store, core, certificates, fronts, backends.

    Changes nothing. Exit status 1 if something fails.
    """
    from proxy.cli.doctor import examine
    from proxy.cli.doctor.finding import State

    found = []
    for finding in examine(config_path()):
        found.append(finding)
        if not as_json:
            click.echo(safe(f"{finding.state.value:<8} {finding.check}: {finding.text}"))
            if finding.todo:
                click.echo(safe(f"{'':<8} -> {finding.todo}"))
    failed = sum(finding.state is State.FAILED for finding in found)
    if as_json:
        echo_json([asdict(finding) for finding in found])
    else:
        note(f"{counted(len(found), 'check')}, {failed} failed")
    if failed:
        raise SystemExit(REFUSED)
