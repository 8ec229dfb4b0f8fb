#!/usr/bin/env bash
# Runs a command with the servers of a group that shares its studies at hand, and passes on its exit code:
#
#     bash tests/servers.sh python -m pytest -n 0 -m slow tests/end_to_end/test_servers.py
#
# PostgreSQL (tests/postgresql.sh) with a database for records and one for studies, and on the first an MLflow server
# that serves the artifacts too. All listen on loopback at free ports, keep their data in temporary folders, and are gone
# afterwards. The command finds
#
#     SENTIMENT_TEST_MLFLOW                the address of the MLflow server: tracking.uri
#     SENTIMENT_TEST_STUDIES               the address of the studies, without its password: hydra.sweeper.storage
#     SENTIMENT_STORAGE_PASSWORD_FILE      a file with that password: see SECURITY.md
set -euo pipefail

if [ "$#" -eq 0 ]; then
    echo "usage: bash tests/servers.sh COMMAND [ARGUMENT...]" >&2
    exit 2
fi
if [ -z "${SENTIMENT_TEST_POSTGRESQL:-}" ]; then
    exec bash "$(dirname "$0")/postgresql.sh" bash "$0" "$@"
fi

folder="$(mktemp -d)"
server=""

finish() {
    code=$?
    trap - EXIT INT TERM
    if [ -n "$server" ]; then
        kill -TERM -- "-$server" 2>/dev/null || true # it and its workers: a process group of its own
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Prints user, host and port of the server as in a URL, and a free port for MLflow.
read -r address port < <(python - "$SENTIMENT_TEST_POSTGRESQL" "$folder/password" <<'PYTHON'
import os, secrets, socket, sys
import psycopg

password = secrets.token_hex(16)
os.umask(0o077)
with open(sys.argv[2], "w") as file:
    file.write(password + "\n")
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{password}'")
    for name in ("records", "studies"):
        connection.execute(f"CREATE DATABASE {name} OWNER guarded")
    server = f"{connection.info.host}:{connection.info.port}"
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    print(f"guarded@{server}", free.getsockname()[1])
PYTHON
)

# libpq reads the password from the environment: it is in no argument, which every user of the machine may read.
PGPASSWORD="$(cat "$folder/password")" setsid python -m mlflow server --host 127.0.0.1 --port "$port" --workers 1 \
    --backend-store-uri "postgresql+psycopg://$address/records" \
    --artifacts-destination "$folder/artifacts" --serve-artifacts >"$folder/mlflow.log" 2>&1 &
server=$!

for attempt in $(seq 240); do
    if python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/health', timeout=5)" 2>/dev/null; then
        break
    elif [ "$attempt" -eq 240 ] || ! kill -0 "$server" 2>/dev/null; then
        cat "$folder/mlflow.log" >&2
        exit 1
    fi
    sleep 0.5
done

export SENTIMENT_TEST_MLFLOW="http://127.0.0.1:$port"
export SENTIMENT_TEST_STUDIES="postgresql://$address/studies"
export SENTIMENT_STORAGE_PASSWORD_FILE="$folder/password"
code=0
"$@" || code=$?
exit "$code"
