#!/usr/bin/env bash
# Checks that alerts, runbooks and dashboards match the code: metrics and labels exist, runbooks exist and
# name their drill, and what their commands use exists. Runs promtool on the rules.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. launcher/prerequisites.sh
require_prerequisites

alerts=(ops/alerts/bff.yml ops/alerts/housekeeping.yml ops/alerts/tables.yml)
dashboards=(ops/grafana/*.json)
faults=0

fault() {
    printf 'ops: %s\n' "$1" >&2
    faults=$((faults + 1))
}

rust() { # rust <grep arguments>: in the sources, quietly
    grep -rq --include='*.rs' --exclude-dir=target --exclude-dir=.local "$@" .
}

# Prints every expression of the rules and dashboards, without comments and annotations.
expressions() {
    sed -e 's/^ *#.*//' -e 's/ #.*//' -e '/^ *\(summary\|description\|runbook\):/d' "${alerts[@]}"
    grep -ho '"expr": *"\([^"\\]\|\\.\)*"' "${dashboards[@]}" | sed 's/\\"/"/g'
}

# Prints the metrics: names before a selector or range, and names with our prefixes. `up` and `ALERTS`
# are built into Prometheus.
metrics() {
    local names
    names=$(expressions)
    {
        grep -oE '[a-zA-Z_:][a-zA-Z0-9_:]*[{[]' <<<"$names" | sed 's/.$//'
        grep -oE '(^|[^a-zA-Z0-9_:])(bff|housekeeping|inventory|staff)_[a-zA-Z0-9_]+' <<<"$names" | sed 's/^[^a-z]//'
    } | grep -vE '^(up|ALERTS)$' | sort -u
}

# Whether a macro of service-kit builds the name $base from a prefix: the macro, what stands before the
# prefix in its calls, and the endings that it appends.
built() {
    local macro=$1 before=$2 ending
    for ending in "${@:3}"; do
        if [[ $base == *"$ending" ]]; then
            rust -zE "$macro!\(\s*$before\"${base%"$ending"}\"" && rust -F "concat!(\$prefix, \"$ending\")" && return 0
        fi
    done
    return 1
}

# The same for the prefix of a program's table maintenance.
maintained() {
    local ending
    for ending in "$@"; do
        if [[ $base == *"$ending" ]]; then
            rust -F "prefix: \"${base%"$ending"}\"" && rust -F "{prefix}$ending\"" && return 0
        fi
    done
    return 1
}

# A histogram exports three metrics.
metric_exists() {
    local base=$1 ending
    grep -q "record: $base\$" "${alerts[@]}" && return 0
    for ending in _bucket _sum _count; do
        [[ $base == *_seconds$ending ]] && base=${base%"$ending"}
    done
    rust -F "\"$base\"" && return 0
    built connection_metrics '' _connections_open _connections_refused_total ||
        built request_metrics '' _request_total _request_duration_seconds _request_inflight _errors_total ||
        maintained _partition_rotation_total _default_partition_rows _partition_months_ahead \
            _swept_rows_total _sweep_last_success_timestamp_seconds
}

check_metrics() {
    local name
    for name in $(metrics); do
        metric_exists "$name" || fault "$name is used in an alert or dashboard, and no Rust source makes it."
    done
}

# The variant whose derived name is NOT_FOUND or not_found: NotFound.
variant() { sed -E 's/(^|_)([A-Za-z])([A-Za-z]*)/\U\2\L\3/g' <<<"$1"; }

# Label values that are written down: outcomes, error codes, routes.
check_labels() {
    local value
    for value in $(expressions | grep -oE 'outcome[!=~]+"[^"]*"' | sed 's/^[^"]*"//; s/"//' | tr '|' '\n' | sort -u); do
        rust -F "\"$value\"" || rust -E "^ *$(variant "$value"),$" || fault "outcome $value is in no Rust source."
    done
    for value in $(expressions | grep -oE 'MELMASTOON\.[A-Z_.]+' | sort -u); do
        grep -qF "\"${value#MELMASTOON.}\"" contracts/src/problem/code.rs || fault "error code $value is not in code.rs."
    done
    for value in $(expressions | grep -oE 'route="[^"]*"' | sed 's/^[^"]*"//; s/"//' | sort -u); do
        rust -F "\"${value#/api/bff/backoffice/v1}\"" || fault "route $value is in no Rust source."
    done
}

# Paths of the runbooks that must exist: of alerts and of error codes.
wanted_runbooks() {
    sed -n 's/^ *runbook: *//p' "${alerts[@]}"
    sed -n '/^codes! {/,/^}/s/.*"\([a-z-]*\/[a-z-]*\)";$/ops\/runbooks\/\1.md/p' contracts/src/problem/code.rs
}

check_runbooks() {
    local path count=0
    for path in $(wanted_runbooks | sort -u); do
        count=$((count + 1))
        [ -f "$path" ] || fault "$path is named by an alert or an error code and does not exist."
    done
    # An empty list means that this script does not parse the files correctly.
    [ "$count" -ge 10 ] || fault "only $count runbooks were found in ${alerts[*]} and code.rs: fix ops/check.sh."
    local rules books
    rules=$(cat "${alerts[@]}" | grep -c '^ *- alert:')
    books=$(cat "${alerts[@]}" | grep -c '^ *runbook:')
    [ "$rules" -eq "$books" ] || fault "$rules alerts have $books runbooks."
}

# Each upstream has a row, or a page of its own, in the page of BffUpstreamDown.
check_upstreams() {
    local page=ops/runbooks/bff-backoffice/upstream-down.md upstream upstreams
    upstreams=$(sed -n '/^pub enum Upstream {/,/^}/s/^ *\([A-Za-z]*\),$/\1/p' contracts/src/upstream.rs |
        tr '[:upper:]' '[:lower:]' | grep -vx audit)
    [ -n "$upstreams" ] || fault "no upstream was found in contracts/src/upstream.rs: fix ops/check.sh."
    for upstream in $upstreams; do
        grep -qE "^\| $upstream \||\[$upstream\]\(" "$page" || fault "$page has no row for $upstream."
    done
}

# Each page names a drill of the catalogue, or one that is not written yet.
check_drills() {
    local page line id ids unwritten=()
    for page in ops/runbooks/*/*.md; do
        line=$(grep -m 1 '^Drill: ' "$page")
        ids=$(grep -oE '(F|GD|DT|RO|INV|HK|STF|RDY)-[0-9]+(\.[0-9]+)*' <<<"$line" | sort -u)
        [ -n "$ids" ] || fault "$page names no drill."
        for id in $ids; do
            if ! grep -qrE "^\[row\.\"?${id//./\\.}\"?\.drill\]$" chaos/catalog; then
                [[ $line == *"not written yet"* ]] || fault "$page names drill $id, which chaos/catalog/ does not have."
                unwritten+=("$id")
            elif [[ $line == *"not written yet"* ]]; then
                fault "$page says that drill $id is not written yet, but chaos/catalog/ has it."
            fi
        done
    done
    echo "ops: ${#unwritten[@]} pages name a drill that is not written yet: ${unwritten[*]}"
}

# Prints the commands of a page.
commands() { awk '/^ *```sh( effect)?$/ { inside = 1; next } /^ *```/ { inside = 0 } inside' "$1"; }

# Prints the alternatives in the first argument of a function of addresses.sh, one a line.
arguments() { # arguments <function> <commands>
    sed -nE "s/.*\b$1 ('([^']*)'|\"([^\"]*)\"|([a-z_]+)).*/\2\3\4/p" <<<"$2" | grep -v '"level"' | tr '|' '\n' | tr -d '"'
}

# The commands of each page use variables that exist, metrics that exist, and log lines that exist.
check_commands() {
    local page commands name text
    for page in ops/runbooks/*/*.md; do
        commands=$(commands "$page")
        [ -n "$commands" ] || fault "$page has no commands in a block marked sh."
        for name in $(grep -oE '\$\{?[A-Za-z_]+' <<<"$commands" | tr -d '${' | sort -u); do
            grep -qE "(^|[^A-Za-z_])$name=|for $name in" ops/runbooks/addresses.sh - <<<"$commands" \
                || fault "$page uses \$$name, which neither ops/runbooks/addresses.sh nor the page sets."
        done
        for text in $(arguments metrics "$commands" | grep -oE '^[a-z_]+'); do
            rust -E "\"([{]prefix[}])?[a-z_]*${text%_bucket}[a-z_]*\"" || fault "$page shows the metric $text, which no Rust source makes."
        done
        while IFS= read -r text; do
            [ -z "$text" ] || rust -F -- "$text" || fault "$page looks for '$text' in a log, which no Rust source writes."
        done < <(arguments logged "$commands")
    done
}

check_links() {
    local page link
    for page in ops/runbooks/*.md ops/runbooks/*/*.md; do
        for link in $(grep -oE '\]\([^)#]+\)' "$page" | sed 's/^](//; s/)$//'); do
            [ -e "$(dirname "$page")/$link" ] || fault "$page links to $link, which does not exist."
        done
    done
}

# Converts the dashboards' queries to rules, so that promtool checks them too.
dashboard_rules() {
    printf 'groups:\n  - name: dashboards\n    rules:\n'
    local number=0 query
    while IFS= read -r query; do
        number=$((number + 1))
        printf "      - {record: 'dashboard:query:%d', expr: '%s'}\n" "$number" "$query"
    done < <(grep -ho '"expr": *"\([^"\\]\|\\.\)*"' "${dashboards[@]}" \
        | sed -e 's/^"expr": *"//' -e 's/"$//' -e 's/\\"/"/g' -e 's/\$__rate_interval/1m/g' -e "s/'/''/g")
}

run_promtool() {
    local promtool
    build_all
    promtool=$(tool promtool) || {
        fault "the alert rules were not run, because promtool is missing. See the message above."
        return
    }
    local output queries
    queries=$(mktemp)
    dashboard_rules >"$queries"
    output=$("$promtool" check rules "${alerts[@]}" 2>&1) || fault "$output"
    output=$("$promtool" test rules ops/alerts/*_test.yml 2>&1) || fault "$output"
    output=$("$promtool" check config ops/prometheus.yml 2>&1) || fault "$output"
    output=$("$promtool" check rules "$queries" 2>&1) || fault "a query of ops/grafana is not PromQL: $output"
    rm -f "$queries"
}

check_metrics
check_labels
check_runbooks
check_upstreams
check_drills
check_commands
check_links
run_promtool

if [ "$faults" -gt 0 ]; then
    echo "ops: $faults faults. Fix the names above or the code." >&2
    exit 1
fi
echo "ops: alerts, runbooks and dashboards match the code."
