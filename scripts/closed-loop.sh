#!/bin/sh
# Regenerates the figures of docs/guides/simulate.md: every scenario with ten seeds, and decisions per second.
#
# Usage: scripts/closed-loop.sh [SCENARIO…]     narrowing, news, newcomers, position-bias, debiasing, popularity, ranker, unwanted, films, throughput; all without one
#
# Tables go to standard output, JSON and HTML to $OUT (default target/closed-loop). About half an hour on two cores that nothing else uses, ten minutes each for `ranker` and `unwanted`.
set -eu
cd "$(dirname "$0")/.."
OUT="${OUT:-target/closed-loop}"
mkdir -p "$OUT"
cargo build --release --quiet -p cli
CONCIERGE="${CARGO_TARGET_DIR:-target}/release/concierge"
for name in ${*:-narrowing news newcomers position-bias debiasing popularity ranker unwanted films throughput}; do
    echo "\$ concierge simulate $name"
    "$CONCIERGE" simulate "$name" --html "$OUT/$name.html" | tee "$OUT/$name.txt"
done
