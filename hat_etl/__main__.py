"""``hat-etl``, and ``python -m hat_etl``: the command, where its script is not on the path."""

import signal


def run() -> None:
    """The command. Until it has the imports by which it tells what Ctrl-C leaves, Ctrl-C ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from hat_etl.cli.main import main

    main(prog_name="hat-etl")


if __name__ == "__main__":
    run()
