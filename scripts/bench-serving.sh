#!/usr/bin/env bash
# Figures of docs/benchmarks.md about freshness, retrieval and serving, on a machine that does nothing else.
#   scripts/bench-serving.sh [freshness|retrieval|small|small-light|million-made|million|million-light|million-overload]...   (all without arguments)
# DRY=1 prints the commands and runs nothing.
# Folders made up for `million` are kept in $CONCIERGE_BENCH_DIR (default: a folder of the system's for temporary files) between the two steps.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
folder="${CONCIERGE_BENCH_DIR:-${TMPDIR:-/tmp}/concierge-bench}"
if [ -z "${DRY:-}" ]; then
    mkdir -p "$folder"
    cargo build --quiet --release -p cli -p retrieval --bin concierge --example filtered
fi
run() {
    if [ -n "${DRY:-}" ]; then
        echo "\$ $*"
        return
    fi
    echo "\$ $*" >&2
    "$@"
}
million=(--data "$folder/million" --items 1000000 --users 1000000 --events 8000000)

freshness() {
    for _ in 1 2 3; do
        run "$target/release/concierge" bench freshness --rate 1000 --probes 1000 --json
    done
}
retrieval() { run "$target/release/examples/filtered"; }
small() { run "$target/release/concierge" bench serve --items 100000 --users 100000 --events 2000000 --seconds 15 --json; }
small-light() { run "$target/release/concierge" bench serve --items 100000 --users 100000 --events 2000000 --seconds 15 --light --json; }
# Makes the folder and trains, with a second of load to end it.
million-made() { run "$target/release/concierge" bench serve "${million[@]}" --seconds 1 --overload 0 --json; }
million() { run "$target/release/concierge" bench serve "${million[@]}" --seconds 20 --json; }
million-light() { run "$target/release/concierge" bench serve "${million[@]}" --seconds 20 --light --json; }
# Five minutes at three times what was reached, the ranker failing for the middle third.
million-overload() { run "$target/release/concierge" bench serve "${million[@]}" --seconds 10 --overload-seconds 300 --json; }

for step in "${@:-freshness retrieval small small-light million-made million million-light million-overload}"; do
    for one in $step; do
        echo "== $one"
        "$one"
    done
done
