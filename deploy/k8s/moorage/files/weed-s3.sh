#!/bin/sh
# Start a filer with its S3 gateway. The one identity that it knows is made from the Secret's files.
set -eu

access="$(cat "$KEYS/access-key")"
secret="$(cat "$KEYS/secret-key")"
case "$access$secret" in
'' | *[!A-Za-z0-9+/=_.-]*)
    echo 'the S3 keys may have letters, digits and +/=_.- only' >&2
    exit 1
    ;;
esac

umask 077
cat >"$HOME_DIR/s3.json" <<JSON
{"identities": [{"name": "moorage", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$access", "secretKey": "$secret"}]}]}
JSON
exec weed -logtostderr=true filer -s3 -s3.config="$HOME_DIR/s3.json" "$@"
