# Sourced by the runbooks' commands: sets the addresses and pids of the local stack, read from
# .local/stack.json. For any other gateway set the variables yourself instead.
_at() { grep -A1 "\"$1\": {" .local/stack.json | grep -o 'https\{0,1\}://[^"]*' | head -n 1; }
_pid() { grep -A3 "\"$1\": {" .local/stack.json | grep '"pid"' | grep -o '[0-9][0-9]*' | head -n 1; }
INTERNAL=$(grep -o '"internalUrl": *"[^"]*' .local/stack.json | cut -d '"' -f 4) # metrics, health
GATEWAY=$(grep -o '"apiUrl": *"[^"]*' .local/stack.json | cut -d '"' -f 4)
STAND_INS=$(_at standIns) # its control listener
INVENTORY=$(_at inventory) HOUSEKEEPING=$(_at housekeeping) STAFF=$(_at staff)
INVENTORY_PID=$(_pid inventory) HOUSEKEEPING_PID=$(_pid housekeeping) STAFF_PID=$(_pid staff)
GATEWAY_PID=$(_pid gateway) SESSION_PID=$(_pid session) CACHE_PID=$(_pid cache) POSTGRES_PID=$(_pid postgres)
