#!/usr/bin/env bash
# Types of everything: the package, and the scripts of each experiment, whose folder is their path. bash tests/types.sh
set -euo pipefail
cd "$(dirname "$0")/.."

mypy
for folder in experiments/*/ experiments/sweep_engine/apps/; do
  if compgen -G "$folder*.py" >/dev/null; then
    MYPYPATH="$folder:experiments/speed" mypy --explicit-package-bases "$folder"*.py
  fi
done
