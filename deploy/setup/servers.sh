#!/usr/bin/env bash
# Get the real servers of `penstock up` and of the integration tests: Redis and PostgreSQL from the distribution's packages, Kafka from
# Maven Central, Temporal from its Go module. What is there already costs a second; a cold Temporal build takes 3 minutes on two cores.
#
# Packages are only installed by root where apt-get is; everybody else is told what is missing, and by which command it comes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf 'servers: %s\n' "$*" >&2; }

has_postgres() {
  command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
}

# Names of missing packages, as Debian and Ubuntu call them.
missing_packages() {
  command -v redis-server >/dev/null || echo redis-server
  has_postgres || echo postgresql
  command -v java >/dev/null || echo openjdk-17-jre-headless
  command -v mvn >/dev/null || echo maven
}

install_packages() {
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "missing: $*; install them, on Debian by: apt-get install $*"
    return
  fi
  say "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet --quiet || say 'apt-get update failed: trying with the package lists that are here'
  # The packages' own services are not wanted: `up` and the tests run servers of their own on ports of their own.
  apt-get install --quiet --quiet --yes --no-install-recommends "$@" >&2 || say "apt-get install $* failed"
}

main() {
  local packages
  packages=$(missing_packages)
  # shellcheck disable=SC2086  # one word a package
  [ -z "$packages" ] || install_packages $packages
  # What cannot be had is named here and again by every test that needs it.
  .venv/bin/python -P -m services.stack.fetch || true
}

main "$@"
