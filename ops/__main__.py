"""The command line for callers and operators: `python -m ops --help`."""

import argparse
import sys

from ops import cli
from ops.commands import add_commands
from ops.deployment import DEFAULT_STACK, Deployment, connect

_NOTES = """\
The AWS environment selects the account and the Region, or the local stack:

  AWS_PROFILE=my-profile AWS_REGION=eu-west-1 python -m ops query "SELECT 1"

  eval "$(python -m local up --detach)"    # sets AWS_ENDPOINT_URL
  python -m ops query "SELECT 1"
"""


def main(words: list[str] | None = None) -> int:
    return cli.run(_parser(), words)


def _parser() -> argparse.ArgumentParser:
    parser = cli.make_parser("python -m ops", "Run and operate Athena queries on a deployed stack.", _NOTES)
    stack = argparse.ArgumentParser(add_help=False)
    stack.add_argument(
        "--stack",
        default=DEFAULT_STACK,
        metavar="NAME",
        help=f"stack in the account that AWS_PROFILE and AWS_REGION select (default: {DEFAULT_STACK})",
    )
    add_commands(cli.add_subcommands(parser), _connect, stack)
    return parser


def _connect(arguments: argparse.Namespace) -> Deployment:
    # An ARN names region and state machine, and the state machine has the stack's name.
    if arn := getattr(arguments, "execution_arn", None):
        return connect(arn.state_machine, region=arn.region)
    return connect(arguments.stack)


if __name__ == "__main__":
    sys.exit(main())
