"""What the documents tell people to type exists, and their links lead somewhere."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentiment.__main__ import COMMANDS, build_parser
from sentiment.config.home import PROJECT_DIR

DOCUMENTS = sorted(
    [
        PROJECT_DIR / "README.md",
        PROJECT_DIR / "CONTRIBUTING.md",
        *(PROJECT_DIR / "docs").rglob("*.md"),
        *(PROJECT_DIR / "experiments").glob("*/README.md"),
    ]
)
PROGRAM = "python -m sentiment "

FENCED = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.M | re.S)
CODE = re.compile(r"(`+).+?\1")
INDENTED = re.compile(r"(?:^ {4}.*\n?)+", re.M)
COMMAND_IN_PROSE = re.compile(r"^(?:(?:bash|export|pip|python|ray|sbatch|srun) .*|.* \\ .*)$", re.M)
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)(?: \"[^\"]*\")?\)")


def read_commands(text: str) -> Iterator[list[str]]:
    """Give the arguments of every call of the program in code blocks, fenced or indented; joins continued lines."""
    blocks = [match.group() for match in FENCED.finditer(text)]
    blocks += INDENTED.findall(FENCED.sub("", text))
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if PROGRAM in line:
                yield from split_calls(line)


def split_calls(line: str) -> Iterator[list[str]]:
    """Split a line as a shell does, at ``&&``, pipes and redirections, and keep the calls of the program."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for is_punctuation, words in itertools.groupby(lexer, lambda word: set(word) <= set("();<>|&")):
        call = [word for word in words if word != "$"]
        if not is_punctuation and call[:3] == PROGRAM.split():
            yield call[3:]


def find_fault(arguments: list[str]) -> str | None:
    """Say what the program's own parser has against a call."""
    try:
        build_parser().parse_args(arguments)
    except SystemExit as error:
        return None if error.code == 0 else f"{shlex.join(arguments)}: refused by its parser"
    return None


def name_anchor(heading: str) -> str:
    """Name a heading's anchor as GitHub does: lower case, only letters, digits, hyphens and underscores."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def list_anchors(text: str) -> set[str]:
    seen: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", FENCED.sub("", text), re.M):
        anchor = name_anchor(heading)
        seen.append(f"{anchor}-{seen.count(anchor)}" if anchor in seen else anchor)
    return set(seen)


def find_broken_links(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    broken = []
    for link in LINK.findall(CODE.sub("`", FENCED.sub("", text))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path) if path else file
        if not target.exists():
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in list_anchors(target.read_text(encoding="utf-8")):
            broken.append(f"{link}: no such heading")
    return broken


def test_the_first_screen_shows_both_commands():
    first_screen = "\n".join((PROJECT_DIR / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "pip install -e . && python run.py -m model=transformer,rnn\n" in first_screen
    assert "pip install -e '.[dev]' && python -m pytest" in first_screen


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(PROJECT_DIR)))
def test_links_lead_to_files_and_headings(file: Path):
    assert find_broken_links(file) == []


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(PROJECT_DIR)))
def test_commands_are_such_as_the_program_takes(file: Path, capsys):
    faults = [find_fault(arguments) for arguments in read_commands(file.read_text(encoding="utf-8"))]
    assert not any(faults), f"{[fault for fault in faults if fault]}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(PROJECT_DIR)))
def test_no_command_is_wrapped_as_prose(file: Path):
    prose = INDENTED.sub("", FENCED.sub("", file.read_text(encoding="utf-8")))
    assert COMMAND_IN_PROSE.findall(prose) == []


def test_the_five_minutes_use_what_there_is():
    text = (PROJECT_DIR / "docs" / "five-minutes.md").read_text(encoding="utf-8")
    used = {arguments[0] for arguments in read_commands(text)}
    assert used == {"report", "compare", "errors", "best", "predict"} <= set(COMMANDS)


def test_calls_are_found_in_fenced_and_indented_blocks():
    text = (
        "a `python -m sentiment no` b\n\n    python -m sentiment one x  # why\n\n"
        "```bash\n$ python -m sentiment two \\\n  'y; z | w'\ncd a && python -m sentiment three < in > out\n```\n"
    )
    assert list(read_commands(text)) == [["two", "y; z | w"], ["three"], ["one", "x"]]


@pytest.mark.parametrize("arguments", [["nonsense"], ["reference", "--nonsense"]])
def test_a_command_or_flag_that_does_not_exist_is_found(arguments):
    assert find_fault(arguments) == f"{shlex.join(arguments)}: refused by its parser"
    assert find_fault(["reference", "--check"]) is None


def test_a_link_to_nowhere_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A heading, `code` & more\n\n```\n# no heading\n```\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#a-heading-code--more) [b](other.md#twice-1) ![c](other.md) [d](https://example.org/x#y)\n"
        "[e](gone.md) [f](other.md#no-heading) [g](#here)\n`[h](code.md)`\n\n    # Here\n\n# Here\n"
    )
    assert find_broken_links(page) == ["gone.md: no such file", "other.md#no-heading: no such heading"]
