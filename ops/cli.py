"""Shared by the command lines of `ops` and `local`: parsers, errors and exit codes."""

import argparse
import os
import sys
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from ops.errors import EXIT_CODES, CommandError, ExitCode, describe


def make_parser(program: str, description: str, notes: str = "") -> argparse.ArgumentParser:
    """A parser whose help ends with the notes and the exit codes."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"{notes}\n{EXIT_CODES}".lstrip(),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26),
    )
    parser.set_defaults(program=program)
    return parser


def add_subcommands(
    parser: argparse.ArgumentParser,
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    return parser.add_subparsers(title="commands", required=True, metavar="COMMAND")


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    *parents: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", parents=parents
    )


def output_file(text: str) -> Path:
    """An argument's type: a file to write, in a folder that exists."""
    file = Path(text)
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a directory")
    if not file.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{str(file.parent)!r} is not a directory")
    return file


def run(parser: argparse.ArgumentParser, words: list[str] | None) -> int:
    """Run the command and return its exit code. A failure is one line on stderr."""
    arguments = parser.parse_args(words)
    try:
        code: int = arguments.run(arguments)
        # What is buffered: an error of the interpreter's own flush would not be one line.
        print(end="", flush=True)
    except CommandError as error:
        return _fail(parser, str(error), error.code)
    except (BotoCoreError, ClientError) as error:
        return _fail(parser, " ".join(describe(error).split()), ExitCode.UNREACHABLE)
    except BrokenPipeError:
        # The interpreter flushes stdout once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OUTPUT_CLOSED
    except OSError as error:
        return _fail(parser, str(error), ExitCode.USAGE)
    except KeyboardInterrupt:
        return _fail(parser, "interrupted", ExitCode.INTERRUPTED)
    return code


def _fail(parser: argparse.ArgumentParser, message: str, code: ExitCode) -> ExitCode:
    print(f"{parser.prog}: error: {message}", file=sys.stderr)
    return code
