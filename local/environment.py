"""Points a process or a client at the local stack, whatever AWS account or proxy is configured."""

import os
import shlex
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

REGION = "us-east-1"
# MiniStack's default account.
ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

# Variables of an account that would override or contradict the local ones.
_OVERRIDING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")
_LOOPBACK = "127.0.0.1"


def aws_variables(endpoint: str) -> dict[str, str]:
    """The environment variables that the AWS CLI and the SDKs need."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        # Otherwise TestState goes to a host such as sync-127.0.0.1, which does not exist.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        **CREDENTIALS,
    }


def shell_commands(endpoint: str, state_machine_arn: str) -> list[str]:
    """Shell commands for `eval` that point the shell at the local stack."""
    unset = [name for name in _OVERRIDING if name in os.environ]
    variables = aws_variables(endpoint) | {"STATE_MACHINE_ARN": state_machine_arn} | _proxy_bypass()
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return ([f"unset {' '.join(unset)}"] if unset else []) + exports


def process_environment() -> dict[str, str]:
    """The environment of this process without anything that points at an AWS account."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return environment | _proxy_bypass()


def client(endpoint: str, service: str) -> Any:
    """A boto3 client of a service that ignores the environment and the configuration files."""
    unread = (None, None, None, None)
    nowhere = (None, None, os.devnull, None)
    session = boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
        botocore_session=botocore.session.Session(
            session_vars={"profile": unread, "config_file": nowhere, "credentials_file": nowhere}
        ),
    )
    config = Config(proxies={}, inject_host_prefix=False)
    # boto3-stubs has an overload for each literal name and none for a variable.
    return session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]


def _proxy_bypass() -> dict[str, str]:
    """If a proxy is configured, exempt this machine from it."""
    if not any(name.lower() in {"http_proxy", "https_proxy", "all_proxy"} for name in os.environ):
        return {}
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    value = hosts if _LOOPBACK in hosts.split(",") else ",".join(filter(None, [hosts, _LOOPBACK]))
    return {"NO_PROXY": value, "no_proxy": value}
