# shellcheck shell=bash
# What the lab's scripts share: how they speak, how they fail, and what makes a folder a lab.

say() { printf 'lab: %s\n' "$*"; }

# fail CODE WHY: one line on the error stream, and out. CODE: 1 a failure, 2 bad usage, 3 the environment.
fail() {
  printf 'lab: %s\n' "$2" >&2
  exit "$1"
}

# is_complete DIR: the mark is written last, so what carries it is whole.
is_complete() { [[ -f $1/.complete ]]; }
