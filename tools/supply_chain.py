"""What the project depends on: `python -m tools.supply_chain sbom|licenses|audit|checkov|rules`.

The tools run in environments of their own (tools/environments.py).

Exit codes: 0 nothing was found, 1 something was found or failed, 2 usage, 3 no advisory source answered.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from aws_cdk import App

from infra.settings import Settings
from infra.stack import QueryStack
from infra.template import synthesize
from tools.environments import environment
from tools.install import NPM
from tools.template_checks import BROUGHT, OWN, acknowledgements, findings, lint_errors

ROOT = Path(__file__).parent.parent
SBOMS = ROOT / "build" / "sbom"
LOCKS = {"development": ROOT / "requirements.lock", "functions": ROOT / "functions" / "requirements.lock"}
TEMPLATES = {"own": OWN, "brought": BROUGHT}

_NO_ANSWER = 3


def write_sboms() -> int:
    """A CycloneDX document for each lock file of what is developed with or deployed."""
    SBOMS.mkdir(parents=True, exist_ok=True)
    program = str(environment("supply-chain") / "cyclonedx-py")
    for name, lock in LOCKS.items():
        options = ("--output-reproducible", "--short-PURLs", "--pyproject", str(ROOT / "pyproject.toml"))
        _run([program, "requirements", *options, "--output-file", str(_sbom(name)), str(lock)])
    node = _run([*NPM, "sbom", "--sbom-format", "cyclonedx", "--package-lock-only"])
    _sbom("node").write_text(node.stdout)
    for name in (*LOCKS, "node"):
        components = json.loads(_sbom(name).read_text())["components"]
        print(f"{_sbom(name).relative_to(ROOT)}: {len(components)} components")
    return 0


def _sbom(name: str) -> Path:
    return SBOMS / f"{name}.cdx.json"


def list_licenses() -> int:
    """Each installed package with its licence, and the number of packages of each licence."""
    program = str(environment("supply-chain") / "pip-licenses")
    listed = _run([program, "--python", sys.executable, "--format", "json", "--from", "mixed"])
    found = [(one["Name"], one["Version"], one["License"]) for one in json.loads(listed.stdout)]
    lock = json.loads((ROOT / "package-lock.json").read_text())
    for path, package in lock["packages"].items():
        if path:
            name = path.rpartition("node_modules/")[2]
            found.append((name, package["version"], package.get("license", "UNKNOWN")))
    # A licence may be given as its whole text.
    rows = [(name, version, " ".join(license_.split())[:60]) for name, version, license_ in found]
    for row in rows:
        print("\t".join(row))
    print()
    for license_, count in Counter(row[2] for row in rows).most_common():
        print(f"{count}\t{license_}")
    return 0


def audit() -> int:
    """Ask for advisories on the locked packages. The exit code is 3 if a source did not answer."""
    program = str(environment("supply-chain") / "pip-audit")
    codes = []
    for name, lock in LOCKS.items():
        options = ("--requirement", str(lock), "--disable-pip", "--no-deps", "--format", "json")
        codes.append(report_python(name, _run([program, *options], may_fail=True).stdout))
    codes.append(report_node(_run([*NPM, "audit", "--json"], may_fail=True).stdout))
    return max(codes)


def report_python(name: str, answer: str) -> int:
    packages = json.loads(answer)["dependencies"] if answer else []
    audited = [one for one in packages if "vulns" in one]
    if not audited:
        print(f"{name}: no advisory source answered; nothing was audited")
        return _NO_ANSWER
    print(f"{name}: {len(audited)} of {len(packages)} packages were audited")
    found = [(one, each) for one in audited for each in one["vulns"]]
    for one, each in found:
        print(f"  {one['name']} {one['version']}: {each['id']}, fixed in {each['fix_versions']}")
    if found:
        return 1
    return 0 if len(audited) == len(packages) else _NO_ANSWER


def report_node(answer: str) -> int:
    report = json.loads(answer) if answer else {}
    if "vulnerabilities" not in report:
        print("node: no advisory source answered; nothing was audited")
        return _NO_ANSWER
    print(f"node: {report['metadata']['dependencies']['total']} packages were audited")
    for name, each in report["vulnerabilities"].items():
        print(f"  {name} {each['range']}: {each['severity']}")
    return 1 if report["vulnerabilities"] else 0


def run_checkov() -> int:
    """Check the template with the stack's own resources, and with everything brought.

    Each suppression has to be needed, and each finding to be suppressed.
    """
    wrong = []
    for name, context in TEMPLATES.items():
        template = synthesize(Settings.from_context(context))
        accepted = _remove_suppressions(template)
        passed, failed = _checkov(template)
        print(f"{name}: {passed} passed, {len(failed)} failed, {len(accepted)} suppressed with a reason")
        wrong += [f"{name}: not suppressed: {check} on {resource}" for resource, check in failed - accepted]
        wrong += [f"{name}: not needed: {check} on {resource}" for resource, check in accepted - failed]
    print("\n".join(sorted(wrong)) or "no finding is without a reason")
    return 1 if wrong else 0


def count_rules() -> int:
    """The findings of cdk-nag's packs and of cfn-lint, and what is acknowledged with a reason."""
    found = []
    for name, context in TEMPLATES.items():
        settings = Settings.from_context(context)
        app = App(analytics_reporting=False, outdir=tempfile.mkdtemp())
        stack = QueryStack(app, settings=settings, code=None)
        accepted = {(path, rule) for path, rule in acknowledgements(stack)}
        for pack in ("AwsSolutions", "NIST.800.53.R5", "HIPAA.Security"):
            count = sum(rule.startswith(f"{pack}-") for _, rule in accepted)
            print(f"{name}: {pack}: {count} findings acknowledged")
        left = findings(app)
        print(f"{name}: cdk-nag: {len(left)} findings left")
        with tempfile.TemporaryDirectory() as folder:
            lint = lint_errors(synthesize(settings), Path(folder) / "template.json")
        print(f"{name}: cfn-lint: {len(lint)} errors")
        found += [*left, *lint]
    return 1 if found else 0


def _remove_suppressions(template: Any) -> set[tuple[str, str]]:
    """Logical id and check of each suppression in the template."""
    return {
        (logical_id, skip["id"])
        for logical_id, resource in template["Resources"].items()
        for skip in resource.get("Metadata", {}).pop("checkov", {}).get("skip", [])
    }


def _checkov(template: Any) -> tuple[int, set[tuple[str, str]]]:
    """The number of passed checks; logical id and check of each failed one."""
    program = str(environment("checkov") / "checkov")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.json"
        file.write_text(json.dumps(template, indent=2))
        options = ("--framework", "cloudformation", "--output", "json", "--compact", "--skip-download")
        report = json.loads(_run([program, "--file", str(file), *options], may_fail=True).stdout)
    failed = {
        (check["resource"].rpartition(".")[2], check["check_id"])
        for check in report["results"]["failed_checks"]
    }
    return report["summary"]["passed"], failed


def _run(command: list[str], *, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )
    if result.returncode and not may_fail:
        sys.exit(f"{Path(command[0]).name} failed: {result.stderr.strip()}")
    return result


COMMANDS = {
    "sbom": write_sboms,
    "licenses": list_licenses,
    "audit": audit,
    "checkov": run_checkov,
    "rules": count_rules,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.supply_chain", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    return COMMANDS[parser.parse_args().command]()


if __name__ == "__main__":
    sys.exit(main())
