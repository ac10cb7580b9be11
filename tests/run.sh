#!/usr/bin/env bash
# Runs every check of Keyward, and sets up on a fresh Debian 12 with Rust what they need:
# PostgreSQL, promtool, sigma-cli and ministack, from Debian's and Python's package registries.
# What cannot be had is left out, loudly.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tools=$root/target/test-tools
left_out=()
started=()

# What is built once needs no record of how to build it again: it would take more room than all the rest.
export CARGO_INCREMENTAL=0

say() { printf '\n==> %s\n' "$*"; }
leave_out() {
    left_out+=("$1")
    printf '\n!!! LEFT OUT: %s\n' "$1" >&2
}

cleanup() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    if [ -n "${cluster:-}" ] && [ -d "$cluster" ]; then
        as_postgres "$pg_bin/pg_ctl" -D "$cluster/data" -m immediate stop >/dev/null 2>&1 || true
        rm -rf "$cluster"
    fi
}
trap cleanup EXIT

# --- set-up ---------------------------------------------------------------------------------------------

install_debian() {
    local missing=()
    command -v promtool >/dev/null || missing+=(prometheus)
    [ -n "$(pg_bin_dir)" ] || missing+=(postgresql)
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        leave_out "installing ${missing[*]} (needs root and apt-get)"
        return
    fi
    say "installing from Debian: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

pg_bin_dir() {
    local dir
    for dir in /usr/lib/postgresql/*/bin; do
        [ -x "$dir/initdb" ] && { echo "$dir"; return; }
    done
    if command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then dirname "$(command -v initdb)"; fi
}

install_python() {
    local stamp
    stamp=$(sha256sum tests/requirements.txt | cut -d' ' -f1)
    [ "$(cat "$tools/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "installing from Python's registry: $(grep -v '^#' tests/requirements.txt | xargs)"
    python3 -m venv --clear "$tools/venv" && "$tools/venv/bin/pip" install -q --disable-pip-version-check \
        -r tests/requirements.txt && echo "$stamp" >"$tools/stamp"
}

as_postgres() {
    # PostgreSQL refuses to run as root.
    if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

start_postgres() {
    pg_bin=$(pg_bin_dir)
    [ -n "$pg_bin" ] || { leave_out "the store suite on PostgreSQL (no server)"; return; }
    cluster=$(mktemp -d)
    chmod 755 "$cluster"
    mkdir "$cluster/data"
    [ "$(id -u)" = 0 ] && chown -R postgres "$cluster"
    as_postgres "$pg_bin/initdb" -D "$cluster/data" -U keyward -A trust -E UTF8 >/dev/null
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    as_postgres "$pg_bin/pg_ctl" -D "$cluster/data" -w -l "$cluster/data/log" \
        -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c fsync=off" start >/dev/null
    export KEYWARD_TEST_POSTGRES="postgres://keyward@127.0.0.1:$port/postgres"
}

mkdir -p "$tools"
install_debian
install_python || leave_out "sigma-cli and ministack (pip failed)"
start_postgres
[ -x "$tools/venv/bin/ministack" ] && export KEYWARD_TEST_MINISTACK="$tools/venv/bin/ministack"

# --- checks ---------------------------------------------------------------------------------------------

say "formatting"
cargo fmt --check
say "clippy"
cargo clippy --quiet --all-targets -- -D warnings
say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --document-private-items

say "dashboards"
if command -v promtool >/dev/null; then
    promtool check rules dashboards/prometheus/*.yml
    promtool test rules dashboards/prometheus/tests/*.yml
else
    leave_out "promtool on dashboards/"
fi

say "rules in the eyes of sigma-cli"
if [ -x "$tools/venv/bin/sigma" ]; then
    "$tools/venv/bin/sigma" check --fail-on-issues -x attacktag -x d3_fendtag rules/kms rules/cloudtrail
else
    leave_out "sigma-cli on rules/"
fi

# --- tests ----------------------------------------------------------------------------------------------

say "tests"
# The integration tests run the program itself.
cargo build --quiet
if [ ${#left_out[@]} -gt 0 ]; then
    printf '\n!!! LEFT OUT:\n' >&2
    printf '!!!   %s\n' "${left_out[@]}" >&2
fi
INSTA_UPDATE=no cargo test --no-fail-fast --lib --test it
