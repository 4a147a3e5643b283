# Sourced by the runbooks' commands, from the root of the clone. Sets the addresses and pids of the local
# stack, read from its stack.json. For any other gateway set the variables yourself instead.
LOCAL=${MELMASTOON_LOCAL:-.local}
if [ ! -r "$LOCAL/stack.json" ]; then
    echo "There is no $LOCAL/stack.json: start the stack with ./up." >&2
fi
_in() { sed -n "/\"$1\": {/,/}/p" "$LOCAL/stack.json"; }
_text() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p"; }
_pid() { _in "$1" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }
INTERNAL=$(_in gateway | _text internalUrl) # metrics, health
GATEWAY=$(_in gateway | _text baseUrl)
STAND_INS=$(_in standIns | _text url) # its control listener
INVENTORY=$(_in inventory | _text url) HOUSEKEEPING=$(_in housekeeping | _text url) STAFF=$(_in staff | _text url)
ADMIN_URL=$(_text adminUrl <"$LOCAL/stack.json") ADMIN_URL=${ADMIN_URL%/*} # database server: append /bff
GATEWAY_PID=$(_pid gateway)
# the address that the gateway uses, whatever server is behind it
SESSION_TIER=$(tr '\0' '\n' 2>/dev/null <"/proc/$GATEWAY_PID/environ" | sed -n 's/^MELMASTOON_REDIS__SESSION_URL=//p') || true
SESSION_TIER=${SESSION_TIER:-$(_in session | _text url)}
export PGCONNECT_TIMEOUT=3

# metrics PATTERN [ADDRESS]: prints the matching series, of the gateway unless an address is given.
metrics() {
    local series
    series=$(curl -sS --fail "${2:-$INTERNAL}/metrics" | grep -v '^#') || return
    grep -E -- "$1" <<<"$series" || echo "(no series matches '$1': a counter appears with its first event)"
}

# logged PATTERN [PROGRAM]: prints the last matching lines of a log, the gateway's unless a program is named.
logged() {
    local log="$LOCAL/logs/${2:-bff}.log"
    if [ ! -r "$log" ]; then
        echo "$log cannot be read." >&2
        return 1
    fi
    grep -E -- "$1" "$log" | tail -n 5 | grep . || echo "(no line matches '$1')"
}
