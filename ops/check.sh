#!/usr/bin/env bash
# Checks that alerts, runbooks and dashboards match the code: metrics and labels exist, runbooks exist and
# name their drill. Runs promtool on the rules.
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

# A histogram exports three metrics. service-kit's request_metrics! and connection_metrics! build names
# from a prefix.
metric_exists() {
    local base=$1 ending
    grep -q "record: $base\$" "${alerts[@]}" && return 0
    for ending in _bucket _sum _count; do
        [[ $base == *_seconds$ending ]] && base=${base%"$ending"}
    done
    rust -F "\"$base\"" && return 0
    for ending in _connections_open _connections_refused_total; do
        if [[ $base == *"$ending" ]]; then
            rust -F "connection_metrics!(\"${base%"$ending"}\")" && rust -F "concat!(\$prefix, \"$ending\")" && return 0
        fi
    done
    for ending in _request_total _request_duration_seconds _request_inflight _errors_total; do
        if [[ $base == *"$ending" ]]; then
            rust -F "request_metrics!(\"${base%"$ending"}\")" && rust -F "concat!(\$prefix, \"$ending\")" && return 0
        fi
    done
    return 1
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

# Paths of the runbooks that must exist. The label in a path stands for every required upstream
# that the rule does not leave out.
required_upstreams() {
    sed -n '/const REQUIRED_UPSTREAMS/,/];/p' bff/src/config/upstreams.rs | grep -oE 'Upstream::[A-Za-z]+,' \
        | sed 's/Upstream:://; s/,//' | tr '[:upper:]' '[:lower:]'
}

wanted_runbooks() {
    local path except upstream upstreams
    upstreams=$(required_upstreams)
    except=$(grep -ohE 'upstream!~"[^"]*"' "${alerts[@]}" | sed 's/^[^"]*"//; s/"//')
    for path in $(sed -n 's/^ *runbook: *//p' "${alerts[@]}" | tr -d ' ' | sort -u); do
        if [[ $path == *'{{$labels.upstream}}'* ]]; then
            for upstream in $upstreams; do
                [[ "|$except|" == *"|$upstream|"* ]] || echo "${path//'{{$labels.upstream}}'/$upstream}"
            done
        else
            echo "$path"
        fi
    done
    sed -n '/^codes! {/,/^}/s/.*"\([a-z-]*\/[a-z-]*\)";$/ops\/runbooks\/\1.md/p' contracts/src/problem/code.rs
}

check_runbooks() {
    local path count=0
    [ -n "$(required_upstreams)" ] || fault "no required upstream was found in bff/src/config/upstreams.rs."
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

# Each page names a drill that is in the catalogue, or says that it is not written yet.
check_drills() {
    local page line id written
    for page in ops/runbooks/*/*.md; do
        line=$(grep -m 1 -E '^Drill: (F|GD|DT|RO|INV|HK|STF|RDY)-[A-Z0-9.]+[,.( ]' "$page") || {
            fault "$page names no drill."
            continue
        }
        id=$(sed 's/^Drill: \([A-Z]*-[0-9A-Z.]*[0-9A-Z]\).*/\1/' <<<"$line")
        [ -f chaos/catalog.toml ] || continue
        written=no
        grep -qE "^[^#]*(^|[^A-Za-z0-9-])${id//./\\.}([^A-Za-z0-9.-]|\$)" chaos/catalog.toml && written=yes
        case "$line $written" in
            *"not written yet"*yes) echo "ops: $page says that drill $id is not written yet; the catalogue has it." ;;
            *"not written yet"*no) ;;
            *no) fault "$page names drill $id, which chaos/catalog.toml does not have." ;;
        esac
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
check_drills
check_links
run_promtool

if [ "$faults" -gt 0 ]; then
    echo "ops: $faults faults. Fix the names above or the code." >&2
    exit 1
fi
echo "ops: alerts, runbooks and dashboards match the code."
