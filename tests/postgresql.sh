#!/usr/bin/env bash
# Runs a command with a throw-away PostgreSQL server at hand, and passes on its exit code:
#
#     bash tests/postgresql.sh python -m pytest tests/search
#
# The server listens on loopback at a free port, keeps its data in a temporary folder, and is gone afterwards. Its
# address is in SENTIMENT_TEST_POSTGRESQL. Run as root, it starts as the user `postgres` (or `nobody`), because
# PostgreSQL refuses root.
set -euo pipefail

if [ "$#" -eq 0 ]; then
    echo "usage: bash tests/postgresql.sh COMMAND [ARGUMENT...]" >&2
    exit 2
fi

find_binaries() {
    if command -v initdb >/dev/null; then
        dirname "$(command -v initdb)"
    else
        find /usr/lib/postgresql -maxdepth 3 -path '*/bin/initdb' -printf '%h\n' 2>/dev/null | sort -V | tail -n 1
    fi
}

binaries="$(find_binaries)"
if [ -z "$binaries" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >&2
    # Debian starts a server of its own on installation, unless told not to.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
    binaries="$(find_binaries)"
fi
if [ -z "$binaries" ]; then
    echo "PostgreSQL is not installed. Install the package 'postgresql' (apt-get install postgresql) first." >&2
    exit 1
fi

as_server() { "$@"; }
owner="$(id -un)"
if [ "$(id -u)" -eq 0 ]; then
    owner="$(id -un postgres 2>/dev/null || echo nobody)"
    as_server() { setpriv --reuid "$owner" --regid "$(id -g "$owner")" --clear-groups "$@"; }
fi

folder="$(mktemp -d)"
chown "$owner" "$folder"

finish() {
    code=$?
    trap - EXIT INT TERM
    if [ -e "$folder/data/postmaster.pid" ]; then
        (cd "$folder" && as_server "$binaries/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null) || true
    fi
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

(cd "$folder" && as_server "$binaries/initdb" -D data -U sentiment -A trust -E UTF8 --no-sync >"$folder/initdb.log") || {
    cat "$folder/initdb.log" >&2
    exit 1
}

# The role `guarded`, where a command makes it, has to give its password; the first line that fits counts.
as_server sed -i '1i host all guarded 127.0.0.1/32 scram-sha-256' "$folder/data/pg_hba.conf"

# A port that is free now may be taken a moment later, so another one is tried then.
for attempt in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 40000))
    options="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c fsync=off -c max_connections=200"
    if (cd "$folder" && as_server "$binaries/pg_ctl" -D data -l "$folder/data/server.log" -o "$options" -w -t 60 start \
        >/dev/null); then
        break
    elif [ "$attempt" -eq 5 ]; then
        cat "$folder/data/server.log" >&2
        exit 1
    fi
done

export SENTIMENT_TEST_POSTGRESQL="postgresql://sentiment@127.0.0.1:$port/postgres"
code=0
"$@" || code=$?
exit "$code"
