#!/bin/sh
# The long form of the crash test: a server under concurrent writers and trainings is killed at random
# moments, reopened and checked. Usage: scripts/crash.sh [ROUNDS] [SEED]
set -eu
cd "$(dirname "$0")/.."
CONCIERGE_CRASH_ROUNDS="${1:-100}" CONCIERGE_CRASH_SEED="${2:-1}" \
    exec cargo test -p cli --test it crash:: -- --nocapture
