#!/bin/sh
# Regenerates the tables of docs/benchmarks.md, section by section.
#
# Usage: scripts/benchmarks.sh [SECTION…]      all sections without one; `list` names them
#
# Results go to $OUT (default target/benchmarks): what was printed as SECTION*.txt, figures as JSON where a command has them.
# $DATA is the folder with the public data sets (default ../shared/data); a section whose data are not there is skipped, loudly.
# Each section is one function below, takes less than five minutes on two cores, and uses the release build of the binary.
set -eu
cd "$(dirname "$0")/.."
DATA="${DATA:-../shared/data}"
OUT="${OUT:-target/benchmarks}"
PYTHON="${PYTHON:-python3}"
SECTIONS="small unseen-users incremental blend evaluation-speed ratings import freshness closed-loops ablation"

# run NAME COMMAND…: shows the command, and keeps what it prints.
run() {
    name="$1"
    shift
    echo "\$ $*" | tee "$OUT/$name.txt"
    "$@" 2>"$OUT/$name.err" | tee -a "$OUT/$name.txt" || {
        cat "$OUT/$name.err" >&2
        return 1
    }
}

# need FILE…: whether the data of a section are there.
need() {
    for file in "$@"; do
        if [ ! -e "$DATA/$file" ]; then
            echo "SKIPPED $section: $DATA/$file is not there" >&2
            return 1
        fi
    done
}

# All models with their defaults on two small sets, two splits each.
small() {
    need ml-100k/ratings.parquet ml-latest-small || return 0
    for split in last:5 temporal:0.8; do
        run "small-100k-$split" "$CONCIERGE" evaluate --data "$DATA/ml-100k/ratings.parquet" \
            --items "$DATA/ml-100k/items.tsv" --split "$split" --html "$OUT/small-100k-$split.html"
        run "small-latest-$split" "$CONCIERGE" evaluate --data "$DATA/ml-latest-small/ratings.parquet" \
            --items "$DATA/ml-latest-small/movies.csv" --split "$split"
    done
}

# People held out of training entirely against the same people trained on.
unseen_users() {
    need ml-1m/ratings.parquet || return 0
    run unseen-users "$CONCIERGE" evaluate --data "$DATA/ml-1m/ratings.parquet" --split last:5 --k 20 \
        --protocol unseen-user --beside-trained --json "$OUT/unseen-users.json"
}

# The last tenth of the training rows through updates against training anew.
incremental() {
    need ml-1m/ratings.parquet || return 0
    run incremental "$CONCIERGE" evaluate --data "$DATA/ml-1m/ratings.parquet" --split last:5 --k 20 \
        --protocol incremental --json "$OUT/incremental.json"
}

# The blend beside its parts, on two splits with given validation and test rows.
blend() {
    need ml-1m/lcfn_split/train.parquet || return 0
    run blend-lcfn "$CONCIERGE" evaluate --train "$DATA/ml-1m/lcfn_split/train.parquet" \
        --test "$DATA/ml-1m/lcfn_split/test.parquet" --k 20 --models popular,item-bm25,als,spectral,ease,blend
    run blend-last5 "$CONCIERGE" evaluate --data "$DATA/ml-1m/ratings.parquet" --items "$DATA/ml-1m/movies.tsv" \
        --split last:5 --k 20 --models popular,content,item-bm25,als,spectral,ease,blend
}

# Ranking all of Gowalla for everyone, beside the peers in the same run. $PEERS is a script that fits and scores other
# libraries and $PYTHON an interpreter that has them; without them only our side runs.
evaluation_speed() {
    need gowalla/train.parquet || return 0
    run evaluation-speed "$CONCIERGE" evaluate --train "$DATA/gowalla/train.parquet" --test "$DATA/gowalla/test.parquet" \
        --k 20 --models 'popular,item-cosine,als:{"factors":64},spectral' --json "$OUT/evaluation-speed.json"
    run evaluation-speed-128 "$CONCIERGE" evaluate --train "$DATA/gowalla/train.parquet" --test "$DATA/gowalla/test.parquet" \
        --k 20 --models 'als:{"factors":128}'
    if [ -n "${PEERS:-}" ]; then
        # The same script with the time that scoring takes.
        sed -e 's/^    r, n = measure(score)/    t = time.perf_counter(); r, n = measure(score); score_s = time.perf_counter() - t/' \
            -e 's/"fit_s": round(fit_s, 2),/"fit_s": round(fit_s, 2), "score_s": round(score_s, 2),/' "$PEERS" >"$OUT/peers_timed.py"
        run evaluation-speed-peers "$PYTHON" "$OUT/peers_timed.py" "$DATA/gowalla/train.parquet" \
            "$DATA/gowalla/test.parquet" --models als64,ials128,cosine --epochs 2
    fi
}

# Error of predicted ratings, five folds; and, where $PYTHON has it, Surprise on one fold.
ratings() {
    need ml-100k/ratings.parquet ml-1m/ratings.parquet || return 0
    run ratings-100k "$CONCIERGE" ratings --data "$DATA/ml-100k/ratings.parquet"
    run ratings-1m "$CONCIERGE" ratings --data "$DATA/ml-1m/ratings.parquet"
    if "$PYTHON" -c 'import surprise' 2>/dev/null; then
        run ratings-peers "$PYTHON" scripts/peers_ratings.py "$DATA/ml-1m/ratings.parquet" \
            --models BaselineOnly,SVD,SlopeOne
        run ratings-peers-100k "$PYTHON" scripts/peers_ratings.py "$DATA/ml-100k/ratings.parquet"
    else
        echo "SKIPPED peers of ratings: no Python with scikit-surprise (set \$PYTHON)" >&2
    fi
}

# Made-up events from Parquet into a data folder, through the binary.
import() {
    run import "$CONCIERGE" bench import --rows 10000000
}

# From the answer to an event until that person's list has changed.
freshness() {
    run freshness "$CONCIERGE" bench freshness --rate 1000 --probes 500
}

# The scenarios of the simulator.
closed_loops() {
    run closed-loops scripts/closed-loop.sh
}

# What each step of a placement adds and what each part is worth, on ratings as they are, and on ratings as three types of events.
ablation() {
    need ml-1m/ratings.parquet ml-100k/ratings.parquet || return 0
    rm -rf "$OUT/ablation"
    mkdir -p "$OUT/ablation"
    as_ratings="$OUT/ablation/ml-1m" as_types="$OUT/ablation/ml-100k"
    "$CONCIERGE" init --data "$as_ratings" >"$OUT/ablation/init.txt"
    "$CONCIERGE" import --data "$as_ratings" --items "$DATA/ml-1m/movies.tsv" --users "$DATA/ml-1m/users.tsv" \
        --events "$DATA/ml-1m/ratings.parquet" --yes >"$OUT/ablation/import.txt"
    run ablation-1m "$CONCIERGE" ablate --data "$as_ratings"
    "$CONCIERGE" init --data "$as_types" >>"$OUT/ablation/init.txt"
    cat >"$as_types/concierge.toml" <<'TOML'
[event_types]
like = { weight = 1.0, role = "preference", value_min = 4.0 }
watched = { weight = 0.4, role = "outcome", value_min = 3.0, value_max = 3.0 }
dismiss = { weight = -0.5, role = "preference", value_max = 2.0 }
TOML
    "$CONCIERGE" import --data "$as_types" --items "$DATA/ml-100k/items.tsv" --users "$DATA/ml-100k/users.tsv" \
        --yes >>"$OUT/ablation/import.txt"
    for event_type in like watched dismiss; do
        "$CONCIERGE" import --data "$as_types" --events "$DATA/ml-100k/ratings.parquet" --event-type "$event_type" \
            --yes >>"$OUT/ablation/import.txt"
    done
    run ablation-100k "$CONCIERGE" ablate --data "$as_types"
}

if [ "${1:-}" = list ]; then
    echo "$SECTIONS" | tr ' ' '\n'
    exit 0
fi
for section in ${*:-$SECTIONS}; do
    case " $SECTIONS " in
    *" $section "*) ;;
    *)
        echo "no section \"$section\", expected one of: $SECTIONS" >&2
        exit 2
        ;;
    esac
done
mkdir -p "$OUT"
cargo build --release --quiet -p cli
CONCIERGE="${CARGO_TARGET_DIR:-target}/release/concierge"
for section in ${*:-$SECTIONS}; do
    echo "== $section"
    "$(echo "$section" | tr - _)"
done
