# scripts/lib/common.sh — what the scripts share; sourced, never run.
#
# Sets: root (the checkout), jobs (parallel jobs; LARDER_JOBS overrides).
# shellcheck shell=bash

set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034
jobs=${LARDER_JOBS:-$(nproc)}
# Debian's own interpreter: the packaged client libraries belong to it, whatever else is on PATH.
# shellcheck disable=SC2034
python=/usr/bin/python3

# Checkouts in different folders share what ccache knows.
export CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros

# Prints the comment block at the top of the calling script (its help), and ends it.
show_help() {
  sed -n '2,/^[^#]/{/^#/!q; s/^# \{0,1\}//; p}' "$0"
  exit 0
}

say() { printf '\033[1m%s\033[0m\n' "== $*" >&2; }
[[ -t 2 ]] || say() { printf '== %s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# unknown_argument WORD: the one way to refuse a word on the command line.
unknown_argument() {
  printf '%s: unknown argument "%s"; try --help\n' "$(basename "$0")" "$1" >&2
  exit 2
}

# Configures build/<preset> and leaves it up to date with the list of files.
configure() {
  (cd "$root" && cmake --preset "$1" >"$root/build/configure-$1.log" 2>&1) ||
    { cat "$root/build/configure-$1.log" >&2; die "cmake --preset $1 failed"; }
}
