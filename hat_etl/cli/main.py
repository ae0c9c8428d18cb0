"""The command ``hat-etl``: groups the commands and turns errors into messages and exit codes."""

from __future__ import annotations

import gc
import json
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NoReturn, TextIO

import click

from hat_etl import __version__
from hat_etl.errors import HatEtlError, OutputError, ReaderGone

GRACE = 5.0
"""Seconds in which a command that is told to stop may still tidy up."""

_WORDS = "hat_etl.words"
"""Where click's context keeps the words of the command line."""

_ALL_OR_NOTHING = ("load", "sync", "reconcile", "undo")
"""Commands that change HAT's tables in one transaction."""


class HatEtlGroup(click.Group):
    """A group whose commands may raise HatEtlError: printed to stderr, and to stdout as JSON when asked.

    An error that nobody foresaw is printed as its type and the places it went through, without its text, which may
    quote values of the data.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _stoppable() as signals:
            try:
                return super().invoke(ctx)
            except (click.exceptions.Exit, click.ClickException, click.Abort):
                raise
            except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the last door
                if signals:  # what breaks while a command stops is not what anybody wants to read
                    _end(128 + signals[0])
                sys.exit(_report(error, ctx.meta[_WORDS]))
            finally:
                _let_go(sys.stdout)
                _let_go(sys.stderr)


def _end(code: int) -> NoReturn:
    """End at once: at its own end Python might remember a KeyboardInterrupt, and make SIGINT of every code."""
    _let_go(sys.stdout)
    _let_go(sys.stderr)
    os._exit(code)


def _let_go(stream: TextIO | None) -> None:
    """Let Python not try once more, at its end, what cannot be written: it has words and an exit code of its own."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _stoppable() -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM end the command: in good order when the servers answer, after ``GRACE`` in any case.

    Gives the signals that came. Ending at once is harmless: a load may be killed at any moment.
    """
    came: list[int] = []

    def stop(number: int, frame: object) -> None:
        came.append(number)
        if len(came) > 1:
            os._exit(128 + number)
        with suppress(OSError):
            os.write(2, f"\nBroken off.{_what_then()}\n".encode())
        end = threading.Timer(GRACE, os._exit, (128 + number,))
        end.daemon = True
        end.start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        if not came:
            for number, handler in before.items():
                signal.signal(number, handler)


def _what_then() -> str:
    """What a command that is broken off leaves."""
    context = click.get_current_context(silent=True)
    if context is None or context.parent is None:
        return ""
    command = context
    while command.parent is not None and command.parent.parent is not None:
        command = command.parent
    by_calls = command.info_name == "billing" or context.params.get("via") == "api"
    if by_calls:
        return f" What was begun goes on with the same command: hat-etl {shlex.join(context.meta[_WORDS])}"
    if command.info_name not in _ALL_OR_NOTHING:
        return ""
    status = " ".join(filter(None, ("hat-etl status", context.params.get("tenant"))))
    resume = "; an unfinished load goes on with --resume" if command.info_name == "load" else ""
    return f" HAT holds all old or all new rows ({status} says which){resume}."


def at_work(tenant: str, via: str) -> None:
    """Let what is told after Ctrl-C be of this tenant, and of how its changes go."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.params.update(tenant=tenant, via=via)


def _report(error: BaseException, words: Sequence[str]) -> int:
    """Print an error of the command with these words; gives the exit code."""
    if isinstance(error, UnicodeEncodeError) and any("\udc80" <= letter <= "\udcff" for letter in "".join(words)):
        say("An argument is not UTF-8 text. Set the terminal to UTF-8, then write it again.")
        return click.UsageError.exit_code
    if isinstance(error, ReaderGone) and error.tenant is None:
        return 128 + signal.SIGPIPE
    if not isinstance(error, HatEtlError):
        say(f"Unexpected {type(error).__name__}. Please report these lines:")
        for frame in traceback.extract_tb(error.__traceback__):
            say(f"  {frame.filename}:{frame.lineno} {frame.name}")
        return 1
    print_error(error)
    if "--json" in words:
        with suppress(OutputError):  # the error itself is what counts
            print_json(error_document(error))
    return error.exit_code


def print_error(error: HatEtlError) -> None:
    """An error for whoever watches."""
    where = " / ".join(part for part in (error.tenant, error.table) if part)
    say(f"Error ({error.kind}){': ' + where if where else ''}")
    say(f"  {error.cause}")
    say(f"  Next step: {error.next_step}")


def error_document(error: HatEtlError) -> dict[str, Any]:
    """What ``--json`` prints of a run that ended with an error."""
    state = "stopped" if error.kind == "decision" else "failed"
    return {"tenant": error.tenant, "state": state, "error": error.as_dict()}


def print_json(document: object) -> None:
    """One JSON document to stdout; dates in ISO form. What the terminal may lack is spelled as JSON has it."""
    echo(json.dumps(document, ensure_ascii=not is_utf(), indent=2, default=str))


def encoding_of_output() -> str:
    """The encoding that stdout has by the terminal's settings."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def is_utf() -> bool:
    """Whether stdout has all letters."""
    return encoding_of_output().lower().startswith("utf")


def echo(text: str) -> None:
    """Lines to stdout: what was asked. Raises OutputError where they cannot be written.

    What the terminal has no letters for is spelled out.
    """
    encoding = encoding_of_output()
    try:
        click.echo(text.encode(encoding, "backslashreplace").decode(encoding))
    except OSError as error:
        kind = ReaderGone if isinstance(error, BrokenPipeError) else OutputError
        raise kind(
            f"The output could not be written ({error.strerror or error}).",
            "See that there is room where it goes and that its reader stays, then run the command again."
            " What runs have done: hat-etl status",
        ) from None


@contextmanager
def telling(tenant: str, done: str, see: str) -> Iterator[None]:
    """Around what is printed of work that is over: where it cannot be written, the error says what was ``done``.

    ``see`` is the command that shows it.
    """
    try:
        yield
    except OutputError as error:
        error.tenant = tenant
        error.cause = f"{done} {error.cause}"
        error.next_step = f"See that there is room where it goes. What was done: {see}"
        raise


def reporting(tenant: str, run: int, state: str) -> AbstractContextManager[None]:
    """Around what is printed of a run that is over."""
    return telling(tenant, f"Run {run} is over ({state}).", f"hat-etl status {tenant}")


@contextmanager
def put_off(unwritten: list[HatEtlError]) -> Iterator[None]:
    """Keep the error of what cannot be written until all else is done and told."""
    try:
        yield
    except OutputError as error:
        unwritten.append(error)


def say(text: str) -> None:
    """A line for whoever watches, on stderr. A full disk or a closed pipe there ends no work."""
    with suppress(OSError):
        click.echo(text, err=True)


class LazyGroup(HatEtlGroup):
    """Imports a command's module when the command is called: help and quick commands stay quick."""

    modules = {  # noqa: RUF012 - click's classes are not generic over this
        "tenant": ("hat_etl.cli.tenant", "tenant"),
        "doctor": ("hat_etl.cli.doctor", "doctor"),
        "views": ("hat_etl.cli.views", "views"),
        "plan": ("hat_etl.cli.load", "plan"),
        "load": ("hat_etl.cli.load", "load"),
        "sync": ("hat_etl.cli.sync", "sync"),
        "reconcile": ("hat_etl.cli.reconcile", "reconcile"),
        "status": ("hat_etl.cli.ledger", "status"),
        "runs": ("hat_etl.cli.ledger", "runs"),
        "rejects": ("hat_etl.cli.ledger", "rejects"),
        "explain": ("hat_etl.cli.explain", "explain"),
        "undo": ("hat_etl.cli.undo", "undo"),
        "tiss": ("hat_etl.cli.tiss", "tiss"),
        "billing": ("hat_etl.cli.billing", "billing"),
        "oracle": ("hat_etl.cli.oracle", "oracle"),
        "sandbox": ("hat_etl.cli.sandbox", "sandbox"),
        "demo": ("hat_etl.cli.demo", "demo"),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        from importlib import import_module

        module, name = self.modules[cmd_name]
        # What comes with the modules stays: to look for garbage in it took a fifth of a command's start.
        gc.disable()
        try:
            command: click.Command = getattr(import_module(module), name)
        finally:
            gc.freeze()
            gc.enable()
        return command


@click.group(cls=LazyGroup)
@click.version_option(__version__)
def main() -> None:
    """Bring a health operator's data from Protheus PLS into its HAT database.

    Exit codes: 0 done, 1 unexpected, 2 usage, 3 configuration, 4 ERP (source), 5 tenant database (target),
    6 data or views not as the contract says, 7 a person has to decide, 8 another run is going on, 9 HAT's API,
    10 the operator's service, 11 what was to be told could not be written.
    """


if __name__ == "__main__":
    main()
