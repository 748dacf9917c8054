"""`penstock completion`: scripts that let shells complete commands, options and the names of models."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from penstock.cli.failure import Failure

VARIABLE = "_PENSTOCK_COMPLETE"
"""Environment variable by which a shell asks; click derives it from the program's name."""

EPILOG = """\b
Put into the shell's start file:
  bash   eval "$(penstock completion bash)"     # ~/.bashrc
  zsh    eval "$(penstock completion zsh)"      # ~/.zshrc, after compinit
  fish   penstock completion fish | source      # ~/.config/fish/config.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Failure(f"there is no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "penstock", VARIABLE).source())
