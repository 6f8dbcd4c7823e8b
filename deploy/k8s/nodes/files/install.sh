#!/bin/sh
# Put the credential provider and its configuration where the kubelet looks for them, and put them
# there again when they are gone or others: install.sh BIN-DIR CONFIG-DIR CONFIGURATION [SECONDS]
set -eu
bin=$1 config=$2 configuration=$3 seconds=${4:-60}
name=moorage-credential-provider
program=$(python3 -Ic 'import pathlib, registry; print(pathlib.Path(registry.__file__).parent / "credential_provider.py")')

put() { # MODE SOURCE TARGET: whole or not at all, since a kubelet may look at any time
    if cmp -s "$2" "$3" && [ "$(stat -c %a "$3")" = "$1" ]; then return; fi
    cp "$2" "$3.new"
    chmod "$1" "$3.new"
    mv -f "$3.new" "$3"
    echo "$3 is installed"
}

trap 'exit 0' TERM INT
while :; do
    put 755 "$program" "$bin/$name"
    put 644 "$configuration" "$config/moorage.yaml"
    sleep "$seconds" &
    wait $! || true
done
