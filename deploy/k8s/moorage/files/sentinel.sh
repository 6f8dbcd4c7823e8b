#!/bin/sh
# Start a Sentinel. It watches the primary that the others name; where none knows, the first node.
set -eu

REDISCLI_AUTH="$(cat "$PASSWORD_FILE")"
export REDISCLI_AUTH
case "$REDISCLI_AUTH" in
'' | *[!A-Za-z0-9+/=_.-]*)
    echo 'the password of Redis may have letters, digits and +/=_.- only' >&2
    exit 1
    ;;
esac
self="$POD_NAME.$SERVICE"

primary=''
for node in $NODES; do
    [ "$node" != "$self" ] || continue
    said="$(timeout 2 redis-cli -h "$node" -p 26379 --raw \
        sentinel get-master-addr-by-name moorage 2>/dev/null | head -n 1)" || said=''
    case " $NODES " in
    *" ${said:-none} "*)
        primary="$said"
        break
        ;;
    esac
done
primary="${primary:-${NODES%% *}}"

umask 077
cat >"$HOME_DIR/sentinel.conf" <<CONF
port 26379
bind ${BIND:-* -::*}
dir $HOME_DIR
requirepass $REDISCLI_AUTH
sentinel sentinel-pass $REDISCLI_AUTH
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $self
sentinel announce-port 26379
sentinel monitor moorage $primary 6379 2
sentinel auth-pass moorage $REDISCLI_AUTH
sentinel down-after-milliseconds moorage 1000
sentinel failover-timeout moorage 5000
sentinel parallel-syncs moorage 2
CONF
# The monitored name must resolve, which it does as soon as that pod has an address.
until timeout 2 redis-cli -h "$primary" -p 6379 ping >/dev/null 2>&1; do sleep 1; done
exec redis-server "$HOME_DIR/sentinel.conf" --sentinel
