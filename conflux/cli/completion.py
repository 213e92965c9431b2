"""`conflux completion SHELL`"""

from __future__ import annotations

import click

from conflux.cli import output
from conflux.cli.options import Settings, command


@command(
    "completion",
    examples=[
        'eval "$(conflux completion bash)"                  # in ~/.bashrc',
        'eval "$(conflux completion zsh)"                   # in ~/.zshrc',
        "conflux completion fish > ~/.config/fish/completions/conflux.fish",
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(settings: Settings, shell: str) -> None:
    """Print the script that completes commands and options in SHELL."""
    from click.shell_completion import get_completion_class

    from conflux.cli.main import COMPLETION_VARIABLE, group

    found = get_completion_class(shell)
    assert found is not None
    output.print_line(found(group, {}, "conflux", COMPLETION_VARIABLE).source())
