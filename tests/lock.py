"""The lock of all dependencies, `requirements.lock`: exact versions with hashes, which `.ci/run` installs from.

    python tests/lock.py renew      # resolve pyproject.toml anew (needs the package registry), and write the lock
    python tests/lock.py check      # offline: does the lock fit pyproject.toml?
    python tests/lock.py licences   # licences of what is locked, as the installed packages tell them

torch is locked by version alone, with what only torch needs: its build (CPU, CUDA) differs from machine to machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT_DIR = Path(__file__).resolve().parent.parent
LOCK_FILE = PROJECT_DIR / "requirements.lock"
HEADING = "# Written by `python tests/lock.py renew`; read by .ci/run.\n"
TORCH = re.compile(r"# (torch==[\w.]+): by version alone, its build differs from machine to machine\n")
BUILDS = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
"""Packages that come with a build of torch."""


def renew() -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder, "venv"), with_pip=True)
        tools, found = Path(folder, "venv", "bin"), Path(folder, "lock")
        subprocess.run([tools / "pip", "install", "--quiet", "uv"], check=True)
        command = [tools / "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10"]
        command += ["--generate-hashes", "--all-extras", "--no-header", "--no-annotate", "-o", found]
        command += ["--prerelease", "if-necessary-or-explicit", PROJECT_DIR / "pyproject.toml"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        LOCK_FILE.write_text(write_lock(found.read_text(encoding="utf-8")), encoding="utf-8")


def write_lock(resolved: str) -> str:
    """Return the lock of what was resolved: torch as a comment, which pip leaves out."""
    entries = re.findall(r"^(?=[\w]).*(?:\n +.*)*\n", resolved, re.MULTILINE)
    version = next(entry.split()[0] for entry in entries if entry.startswith("torch=="))
    kept = [entry for entry in entries if not BUILDS.fullmatch(entry.partition("==")[0])]
    return f"{HEADING}# {version}: by version alone, its build differs from machine to machine\n{''.join(kept)}"


def read_lock(text: str) -> dict[str, set[str]]:
    """Return the locked versions of every package; several where they depend on the Python."""
    locked: dict[str, set[str]] = {}
    torch = TORCH.search(text)
    lines = [torch[1]] if torch else []
    for line in [*lines, *re.findall(r"^[\w].*", text, re.MULTILINE)]:
        name, _, version = line.partition(";")[0].rstrip(" \\").partition("==")
        locked.setdefault(canonicalize_name(name), set()).add(version)
    return locked


def find_faults(text: str, project: dict[str, object]) -> list[str]:
    """List what the lock lacks: a direct dependency, a version in its range, a hash."""
    table: dict[str, object] = project["project"]  # type: ignore[assignment]
    extras: dict[str, list[str]] = table["optional-dependencies"]  # type: ignore[assignment]
    wanted = [*table["dependencies"], *(line for lines in extras.values() for line in lines)]  # type: ignore[misc]
    locked, faults = read_lock(text), []
    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name), set())
        if requirement.name == table["name"]:
            continue
        if not versions or not all(requirement.specifier.contains(each, prereleases=True) for each in versions):
            faults.append(f"{requirement} is locked as {', '.join(sorted(versions)) or 'nothing'}")
    entries = re.findall(r"^(?=[\w]).*(?:\n +.*)*\n", text, re.MULTILINE)
    faults += [f"{entry.split()[0]} has no hash" for entry in entries if "--hash=sha256:" not in entry]
    if "://" in text:
        faults.append("an address of a registry is written in it")
    return faults


def list_licences() -> list[str]:
    """Return a line for each locked package that is installed: name, version, licence."""
    lines = []
    for name in sorted(read_lock(LOCK_FILE.read_text(encoding="utf-8"))):
        try:
            found = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        classified = [text.rpartition(" :: ")[2] for text in found.get_all("Classifier") or [] if "License ::" in text]
        told = found.get("License-Expression") or ", ".join(classified) or (found.get("License") or "").split("\n")[0]
        lines.append(f"| {name} | {told[:80] or 'not told'} |")
    return lines


def main(arguments: Sequence[str]) -> int:
    if arguments == ["renew"]:
        renew()
    elif arguments == ["licences"]:
        print("# Licences of the dependencies\n\n`python tests/lock.py licences` writes this table.\n")
        print("\n".join(["| package | licence |", "|---|---|", *list_licences()]))
    elif arguments != ["check"]:
        print(__doc__)
        return 2
    faults = find_faults(LOCK_FILE.read_text(encoding="utf-8"), read_project())
    for fault in faults:
        print(f"{fault}\n  -> python tests/lock.py renew", file=sys.stderr)
    return 1 if faults else 0


def read_project() -> dict[str, object]:
    return tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
