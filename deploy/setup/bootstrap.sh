#!/usr/bin/env bash
# Make .venv: every package of uv.lock that development needs, and a working .venv/bin/penstock.
#
# Needs Python 3.11 or newer, make and the package registries. A missing or older uv is installed by pip into .cache/uv-venv and
# nowhere else. Whatever uv is used can be found as .cache/bin/uv afterwards; the packaging tests build with it. Where cargo is there,
# front.sh adds the gRPC engine in Rust; bytecode.py leaves bytecode of what our processes import.
set -euo pipefail

readonly UV_PINNED=0.13.9
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly ROOT=$PWD
readonly UV_VENV=$ROOT/.cache/uv-venv

say() { printf 'setup: %s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# The first interpreter that is new enough; `PYTHON=/path/to/python make setup` chooses another.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
      # Not the python of a virtual environment, which may be the very .venv that is replaced here.
      "$candidate" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)'
      return
    fi
  done
  die 'Python 3.11 or newer was not found; install it, or name one: PYTHON=/path/to/python3.11 make setup'
}

is_new_enough() {
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#uv }
  [ "$(printf '%s\n' "$UV_PINNED" "${version%% *}" | sort -V | head -n 1)" = "$UV_PINNED" ]
}

install_uv() {
  say "installing uv $UV_PINNED into .cache/uv-venv"
  rm -rf "$UV_VENV"
  # Debian splits ensurepip from Python: there `venv` fails, while pip itself may be installed.
  if "$1" -m venv "$UV_VENV" >/dev/null 2>&1; then
    "$UV_VENV/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_PINNED"
  else
    "$1" -m pip install --quiet --disable-pip-version-check --target "$UV_VENV" "uv==$UV_PINNED" ||
      die "$1 has neither venv nor pip; install one of them (Debian: python3-venv), or install uv $UV_PINNED"
  fi
}

# Leave the uv to use at .cache/bin/uv.
provide_uv() {
  local uv
  uv=$(command -v uv || true)
  if [ -z "$uv" ] || ! is_new_enough "$uv"; then
    uv=$UV_VENV/bin/uv
    is_new_enough "$uv" || install_uv "$1"
  fi
  mkdir -p .cache/bin
  ln -sfn "$uv" .cache/bin/uv
}

main() {
  local python
  python=$(find_python)
  provide_uv "$python"
  say "syncing .venv from uv.lock with $python"
  # Never a download of an interpreter: those come from outside the package registries.
  UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never .cache/bin/uv sync \
    --quiet --locked --python "$python" --extra mesh --group dev --group examples
  deploy/setup/front.sh
  .venv/bin/python deploy/setup/bytecode.py || say 'bytecode could not be left behind: every start compiles what it imports'
  say 'done: .venv/bin/penstock'
}

main "$@"
