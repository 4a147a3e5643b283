# Sourced by ./check nightly: runs steps one after the other and keeps the output and result of each.

# Creates the folder of this night's results.
begin_nightly() {
    results=.local/nightly/$(date +%Y-%m-%dT%H-%M-%S) steps=0 failures=0
    mkdir -p "$results"
    printf '| step | result | time | output |\n|---|---|---|---|\n' >"$results/summary.md"
    say "Each step's output and a summary are written to $results/."
}

# Runs a step. If it fails, the last lines of its output are shown and the next step follows.
nightly_step() {
    local title=$1 begun=$SECONDS result=passed log took
    shift
    steps=$((steps + 1))
    log=$(printf '%02d-%s.log' "$steps" "$(tr ' A-Z' '-a-z' <<<"${title//,/}")")
    say "── $title ($(date +%H:%M))"
    if ! ("$@") >"$results/$log" 2>&1 </dev/null; then
        failures=$((failures + 1)) result='**failed**'
        tail -n 15 "$results/$log" >&2
    fi
    took=$((SECONDS - begun))
    took="$((took / 60)) min $((took % 60)) s"
    say "   $result after $took"
    printf '| %s | %s | %s | [%s](%s) |\n' "$title" "$result" "$took" "$log" "$log" >>"$results/summary.md"
}

# Fails if a step has failed.
end_nightly() {
    printf '\n%d of %d steps passed after %d min.\n' $((steps - failures)) "$steps" $((SECONDS / 60)) \
        >>"$results/summary.md"
    say "" && cat "$results/summary.md" >&2
    [ "$failures" = 0 ]
}

# Runs drills and keeps their report with the results. The first argument is the report's name.
drills_with_report() {
    local name=$1 status=0
    shift
    rm -f ".local/drills/$name".*
    drills "$@" || status=$?
    cp ".local/drills/$name".* "$results/" || status=1
    return "$status"
}

# cargo-fuzz is built once per user and cached, as cargo-deny is.
fuzz_parsers() {
    local tool
    tool=$(cargo_tool cargo-fuzz 0.13.2) && PATH="$tool/bin:$PATH" ./auth/fuzz/run
}
