#!/bin/sh
# Start a Redis node: as the primary, if the Sentinels say that it is, else as a replica of theirs.
#
# A node that was the primary and comes back must not take itself for it: it is empty, and another
# one is by now. Where no Sentinel knows (a new installation), the first node begins.
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
cat >"$HOME_DIR/redis.conf" <<CONF
port 6379
bind ${BIND:-* -::*}
dir $HOME_DIR
requirepass $REDISCLI_AUTH
masterauth $REDISCLI_AUTH
save ""
appendonly no
maxmemory $MAXMEMORY
maxmemory-policy allkeys-lru
# A primary that was cut off refuses writes within two seconds: nobody may trust what it says.
min-replicas-to-write 1
min-replicas-max-lag 1
repl-ping-replica-period 1
repl-diskless-sync-delay 0
replica-announce-ip $self
replica-announce-port 6379
CONF
[ "$primary" = "$self" ] || echo "replicaof $primary 6379" >>"$HOME_DIR/redis.conf"
exec redis-server "$HOME_DIR/redis.conf"
