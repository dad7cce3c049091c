"""`sidegate completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from proxy.cli.base import SidegateCommand


@click.command(cls=SidegateCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script.

    \b
    bash:  sidegate completion bash > /etc/bash_completion.d/sidegate
    zsh:   sidegate completion zsh > "${fpath[1]}/_sidegate"
    fish:  sidegate completion fish > ~/.config/fish/completions/sidegate.fish
    """
    from proxy.cli.main import sidegate

    script = get_completion_class(shell)
    assert script is not None
    # `source_vars` and the template, not source(): that one runs bash to learn its version.
    source = script(sidegate, {}, "sidegate", "_SIDEGATE_COMPLETE")
    click.echo(source.source_template % source.source_vars())
