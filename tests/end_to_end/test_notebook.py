"""docs/exercise.ipynb: it is stored with its outputs, and every cell runs in order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from sentiment.config.home import PROJECT_DIR

CELLS = json.loads((PROJECT_DIR / "docs" / "exercise.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def test_the_notebook_is_stored_with_what_its_cells_gave_in_order():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    text = "".join(line for output in outputs for line in output.get("text", ()))
    assert str(PROJECT_DIR) not in text
    assert "/home/" not in text


@pytest.mark.slow
def test_every_cell_runs(fresh_checkout):
    script = "\n\n".join("".join(cell["source"]) for cell in CODE)
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=fresh_checkout.folder, capture_output=True, text=True, timeout=900, check=False,
        env={**os.environ, "PYTHONPATH": str(fresh_checkout.folder), "MPLBACKEND": "agg", "COLUMNS": "80"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    printed = result.stdout.replace(f"{fresh_checkout.folder}{os.sep}", "")
    stored = "".join(line for cell in CODE for output in cell["outputs"] for line in output.get("text", ()))
    stale = list_forms(stored) - list_forms(printed)
    assert not stale, f"renew the notebook's outputs: {stale}"


def list_forms(text: str) -> set[str]:
    """Return what lines look like, whatever their numbers and what else is another machine's."""
    lines = re.sub(r", on cpu .*", "", text).splitlines()
    return {" ".join(re.sub(r"\d[\d.,]*(e-\d+)?( min \d+)?", "#", line).split()) for line in lines}
