"""The command line: `holdfast`. Each command loads only what it needs."""


def main() -> None:
    """The entry point of `holdfast`."""
    from cli.app import run

    run()
