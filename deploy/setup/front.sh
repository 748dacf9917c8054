#!/usr/bin/env bash
# Build and install penstock-front (native/front), the gRPC engine in Rust, where cargo is there; anything else is said in one line.
#
# The wheel is kept in .cache/front under the digest of its sources and of the compiler, so that only a change builds again. penstock
# works without it: pygrpc-native, or grpcio, serves gRPC then.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly SOURCE=native/front
readonly KEPT=.cache/front

say() { printf 'setup: %s\n' "$*" >&2; }

# Everything that the wheel depends on, in one name.
digest() {
  {
    cargo --version
    find "$SOURCE" -type f -not -path '*/target/*' -print0 | sort -z | xargs -0 sha256sum
  } | sha256sum | cut -c -16
}

# Leave the wheel in the folder that is named.
build() {
  local log=$KEPT/build.log started=$SECONDS
  say "building penstock-front, once for this source (two minutes of processor time the first time)"
  if ! CARGO_TARGET_DIR=$PWD/.cache/front-target .cache/bin/uv build --quiet --wheel --python .venv/bin/python --out-dir "$1.new" "$SOURCE" >"$log" 2>&1; then
    rm -rf "$1.new"
    say "penstock-front could not be built ($log says why); pygrpc-native serves gRPC"
    return 1
  fi
  rm -rf "$1"
  mv "$1.new" "$1"
  say "penstock-front is built ($((SECONDS - started)) s)"
}

main() {
  if ! command -v cargo >/dev/null; then
    say 'no cargo: gRPC is served by pygrpc-native; with Rust 1.85 or newer (https://rustup.rs) setup builds the faster penstock-front'
    return
  fi
  local wheels
  wheels=$KEPT/$(digest)
  mkdir -p "$KEPT"
  compgen -G "$wheels/*.whl" >/dev/null || build "$wheels" || return 0
  .cache/bin/uv pip install --quiet --no-deps --reinstall --python .venv/bin/python "$wheels"/*.whl
}

main "$@"
