#!/bin/sh
# Regenerates the figures of docs/guides/replay.md: bytes and microseconds per decision, what recording and exploring
# cost, and the replay of 10,000 decisions after a restart and a newer model. Needs the release build.
# Usage: scripts/decision-figures.sh [size] [overhead] [replay]      all without one
set -eu
cd "$(dirname "$0")/.."
TARGET="${CARGO_TARGET_DIR:-target}"
CONCIERGE="${CONCIERGE:-$TARGET/release/concierge}"
SECONDS_EACH="${SECONDS_EACH:-60}"

size() {
    for candidates in 100 500; do
        cargo run --quiet --release -p feedback --example size -- "$candidates" 2000
    done
}

overhead() {
    "$CONCIERGE" bench overhead --policy softmax --seconds "$SECONDS_EACH" --json
    "$CONCIERGE" bench overhead --http --policy softmax --slates 2500 --seconds "$SECONDS_EACH" --json
    "$CONCIERGE" bench overhead --policy epsilon-greedy --seconds "$SECONDS_EACH" --json
}

# Decisions of an exploring placement under load, with events that the models take in between; then a training, and
# every command opens the folder anew.
replay() {
    data="$(mktemp -d)"
    trap 'rm -rf "$data"' EXIT
    "$CONCIERGE" init --data "$data/shop" >/dev/null
    cat >>"$data/shop/concierge.toml" <<'EOF'

[placements.explore]
n = 10

[placements.explore.policy]
name = "softmax"
temperature = 0.5
EOF
    "$CONCIERGE" generate --events "${EVENTS:-200000}" --users 20000 --items 5000 --to "$data/events.parquet" --items-to "$data/items.jsonl" >/dev/null
    "$CONCIERGE" import --data "$data/shop" --items "$data/items.jsonl" --events "$data/events.parquet" >/dev/null
    "$CONCIERGE" train --data "$data/shop" >/dev/null
    "$CONCIERGE" bench freshness --data "$data/shop" --placement explore --rate "${RATE:-400}" --probes "${PROBES:-300}" --seconds "${LOAD_SECONDS:-40}" >/dev/null
    "$CONCIERGE" train --data "$data/shop" >/dev/null
    "$CONCIERGE" replay --data "$data/shop" --sample 10000
}

for section in ${*:-size overhead replay}; do
    echo "== $section"
    "$section"
done
