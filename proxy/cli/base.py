"""What every command has: --config, errors on stderr that say what to do, and the documented exit statuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from proxy.cli.client import Client
    from proxy.config.settings import Config

DEFAULT_CONFIG = "/etc/sidegate/sidegate.yaml"
REFUSED = 1
"""Exit status: refused, failed, or nothing matched. 2 is click's for wrong usage."""


class Failure(click.ClickException):
    """The end of a command: what, where and what to do next on stderr, and exit status 1."""

    exit_code = REFUSED

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"sidegate: {self.message}", file=file, err=file is None)


class TryAgain(Failure):
    """Exit status 75: it may work later, or once the core runs."""

    exit_code = 75


class BadConfiguration(Failure):
    """Exit status 78. Lines that begin with file, line and column stay as they are: editors follow them."""

    exit_code = 78

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, file=file, err=file is None)


def config_option() -> click.Option:
    """-c/--config: before or behind the command's name, the one behind counts."""
    return click.Option(
        ["-c", "--config"],
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=f"Configuration file.  [default: $SIDEGATE_CONFIG, else {DEFAULT_CONFIG}]",
        expose_value=False,
        callback=_remember_config,
    )


def _remember_config(ctx: click.Context, option: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.find_root().meta["sidegate.config"] = value


class SidegateCommand(click.Command):
    """A command that takes -c/--config."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own, and --config."""
        return [*super().get_params(ctx), config_option()]

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's
        """Run it. Arguments are bytes to the kernel: those that are no text end here."""
        try:
            return super().invoke(ctx)
        except UnicodeEncodeError:
            raise Failure("an argument is not valid UTF-8") from None


class SidegateGroup(click.Group):
    """A group whose commands do."""

    command_class = SidegateCommand


def config_path() -> Path:
    """The configuration file that this run is about."""
    meta = click.get_current_context().find_root().meta
    chosen = meta.get("sidegate.config") or os.environ.get("SIDEGATE_CONFIG") or DEFAULT_CONFIG
    return Path(chosen)


def load_config(*, files: bool, directory: bool = False) -> Config:
    """The configuration; BadConfiguration with every mistake in it. Without `files` those it names stay unread, but
    with `directory` those of that section."""
    from proxy.config import ConfigErrors, load

    try:
        return load(config_path(), certificates=files, secrets=files, directory=files or directory)
    except ConfigErrors as errors:
        raise BadConfiguration(str(errors)) from None


def core() -> Client:
    """The API of the core that the configuration is about."""
    from proxy.cli.client import Client

    return Client(load_config(files=False).run_dir / "admin.sock")


def quoted(name: str) -> str:
    """A name as one part of an API path."""
    from urllib.parse import quote

    return quote(name, safe="@")
