"""``python -m hat_etl``: the command, where its script is not on the path."""

from hat_etl.cli.main import main

if __name__ == "__main__":
    main(prog_name="hat-etl")
