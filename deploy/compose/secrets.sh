#!/bin/sh
# Makes the secrets that compose.yaml mounts, those that are not there yet. Containers read them as users of their own, so that the files
# themselves are readable; the folder around them is the owner's alone.
set -eu
folder="$(dirname "$0")/secrets"
mkdir -p "$folder"
chmod 700 "$folder"
for name in postgres_password key_pepper grafana_admin_password; do
    [ -s "$folder/$name" ] && continue
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$folder/$name"
    chmod 444 "$folder/$name"
done
