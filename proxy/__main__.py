"""The `sidegate` command, also as `python -m proxy`."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its status."""
    from proxy.cli.main import sidegate

    sidegate(prog_name="sidegate")


if __name__ == "__main__":
    main()
