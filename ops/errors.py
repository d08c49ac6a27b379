"""How a command fails: one line on stderr and an exit code, never a traceback."""

from enum import IntEnum

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, and the only one used here
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError)


class ExitCode(IntEnum):
    """What a command reports to its shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


EXIT_CODES = """\
exit codes:
  0    success
  1    a query or a claim failed, the execution does not exist, or a message was not replayed
  2    invalid usage
  3    the stack cannot be reached
  130  interrupted
  141  the reader of the output, for example head, has ended
"""


class CommandError(Exception):
    """A command cannot continue. The text is one line with the reason and the remedy."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


def describe(error: BotoCoreError | ClientError) -> str:
    """A failed AWS call in one sentence: what failed, why, and the remedy where it is known."""
    match error:
        case ClientError():
            detail = error.response.get("Error", {})
            text = f"{error.operation_name}: {detail.get('Code', 'failed')}: {detail.get('Message', '')}"
            return text.rstrip(": ")
        case ProfileNotFound():
            return f"{error}; set AWS_PROFILE to a profile of your AWS configuration, or unset it"
        case NoRegionError():
            return "no AWS region is configured; set AWS_REGION"
        case _ if isinstance(error, _CREDENTIALS):
            return f"{error}; configure AWS credentials, for example with AWS_PROFILE or `aws sso login`"
        case ConnectionError() | HTTPClientError():
            return f"{error}; check the network, the region, and AWS_ENDPOINT_URL if it is set"
        case _:
            return str(error)
