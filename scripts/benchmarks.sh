#!/bin/sh
# Regenerates the tables of docs/benchmarks.md, section by section.
#
# Usage: scripts/benchmarks.sh [SECTION…]      all sections without one; `list` names them
#
# Results go to $OUT (default target/benchmarks): what was printed as SECTION*.txt, figures as JSON where a command has them.
# $DATA is the folder with the public data sets (default ../shared/data); a section whose data are not there is skipped, loudly.
# Each section is one function below and uses the release build of the binary; most take less than five minutes on two cores. The last ones are
# scripts of their own with sections of theirs. DRY=1 prints the commands and runs nothing.
set -eu
cd "$(dirname "$0")/.."
DATA="${DATA:-../shared/data}"
OUT="${OUT:-target/benchmarks}"
PYTHON="${PYTHON:-python3}"
SECTIONS="small latest-events unseen-users incremental blend blend-units evaluation-speed ratings ratings-time import freshness overhead closed-loops ablation trees closed-form als serving"
DRY="${DRY:-}"

# run NAME COMMAND…: shows the command, and keeps what it prints.
run() {
    name="$1"
    shift
    if [ -n "$DRY" ]; then
        echo "\$ $*"
        return 0
    fi
    echo "\$ $*" | tee "$OUT/$name.txt"
    "$@" 2>"$OUT/$name.err" | tee -a "$OUT/$name.txt" || {
        cat "$OUT/$name.err" >&2
        return 1
    }
}

# need FILE…: whether the data of a section are there.
need() {
    [ -z "$DRY" ] || return 0
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

# Where the latest 50 events of a history count alike, and where events fade by their place.
latest_events() {
    need ml-1m/ratings.parquet || return 0
    models=""
    for model in ease spectral item-bm25 item-cosine rp3beta; do
        models="$models$model,$model:{\"history_max\":50},"
    done
    models="${models}blend,als:{\"history_max\":1000},popular"
    run latest-events-last "$CONCIERGE" evaluate --data "$DATA/ml-1m/ratings.parquet" --split last:5 --k 20 --models "$models"
    run latest-events-temporal "$CONCIERGE" evaluate --data "$DATA/ml-1m/ratings.parquet" --split temporal:0.8 --protocol warm --k 20 \
        --models "$models"
    run latest-events-next "$CONCIERGE" evaluate --data "$DATA/ml-1m/ratings.parquet" --split temporal:0.8 --protocol warm --k 20 --next 10 \
        --models popular,als,item-bm25,spectral,ease,rp3beta,blend
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
    run incremental-100k "$CONCIERGE" evaluate --data "$DATA/ml-100k/ratings.parquet" --split last:5 --k 20 --threads 1 \
        --protocol incremental --models popular,item-cosine,item-bm25,rp3beta
}

# The blend beside its parts, on two splits with given validation and test rows.
blend() {
    need ml-1m/lcfn_split/train.parquet || return 0
    run blend-lcfn "$CONCIERGE" evaluate --train "$DATA/ml-1m/lcfn_split/train.parquet" \
        --test "$DATA/ml-1m/lcfn_split/test.parquet" --k 20 --models popular,item-bm25,als,spectral,ease,blend
    run blend-last5 "$CONCIERGE" evaluate --data "$DATA/ml-1m/ratings.parquet" --items "$DATA/ml-1m/movies.tsv" \
        --split last:5 --k 20 --models popular,content,item-bm25,als,spectral,ease,blend
}

# What a blend measures scores of its parts by, on validation rows.
blend_units() {
    need ml-1m/lcfn_split/train.parquet || return 0
    run blend-units "$CONCIERGE" evaluate --train "$DATA/ml-1m/lcfn_split/train.parquet" --test "$DATA/ml-1m/lcfn_split/valid.parquet" \
        --k 20 --models 'blend:{"normalise":"typical"},blend:{"normalise":"best"},blend:{"normalise":"spread"}'
}

# Ranking all of Gowalla for everyone, beside the peers in the same run. $PEERS is a script that fits and scores other
# libraries and $PYTHON an interpreter that has them; without them only our side runs.
evaluation_speed() {
    need gowalla/train.parquet || return 0
    run evaluation-speed "$CONCIERGE" evaluate --train "$DATA/gowalla/train.parquet" --test "$DATA/gowalla/test.parquet" \
        --k 20 --models 'item-cosine,als:{"factors":64},als:{"factors":128}' --json "$OUT/evaluation-speed.json"
    if [ -n "$DRY" ]; then
        echo "\$ $PYTHON $OUT/peers_timed.py $DATA/gowalla/train.parquet $DATA/gowalla/test.parquet --models als64,ials128,cosine --epochs 2"
    elif [ -n "${PEERS:-}" ]; then
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
    if [ -n "$DRY" ] || "$PYTHON" -c 'import surprise' 2>/dev/null; then
        run ratings-peers "$PYTHON" scripts/peers_ratings.py "$DATA/ml-1m/ratings.parquet" \
            --models BaselineOnly,SVD,SlopeOne
        run ratings-peers-100k "$PYTHON" scripts/peers_ratings.py "$DATA/ml-100k/ratings.parquet"
    else
        echo "SKIPPED peers of ratings: no Python with scikit-surprise (set \$PYTHON)" >&2
    fi
}

# What the moment of a rating adds, in folds at random and by time.
ratings_time() {
    need ml-100k/ratings.parquet ml-1m/ratings.parquet || return 0
    models='baseline,baseline:{"time":{}},svd,svd:{"time":{}},svdpp,svdpp:{"time":{}}'
    for set in ml-100k ml-1m; do
        run "ratings-time-$set" "$CONCIERGE" ratings --data "$DATA/$set/ratings.parquet" --models "$models"
        run "ratings-by-time-$set" "$CONCIERGE" ratings --data "$DATA/$set/ratings.parquet" --models "$models" --by-time
    done
}

# Made-up events from Parquet into a data folder, through the binary.
import() {
    run import "$CONCIERGE" bench import --rows 10000000
}

# From the answer to an event until that person's list has changed.
freshness() {
    run freshness "$CONCIERGE" bench freshness --rate 1000 --probes 1000
}

# What recording decisions and exploring cost.
overhead() {
    for policy in softmax epsilon-greedy swaps thompson; do
        run "overhead-$policy" "$CONCIERGE" bench overhead --http --policy "$policy" --slates 2500 --seconds 55
    done
    run overhead-in-process "$CONCIERGE" bench overhead --slates 1500 --seconds 40
    [ -n "$DRY" ] || rm -rf "$OUT/whole"
    run overhead-made "$CONCIERGE" bench serve --data "$OUT/whole" --items 100000 --users 100000 --events 2000000 --seconds 1 --overload 0
    run overhead-whole "$CONCIERGE" bench overhead --http --data "$OUT/whole" --placement home --slates 800 --seconds 50
}

# The scenarios of the simulator.
closed_loops() {
    run closed-loops scripts/closed-loop.sh
}

# What each step of a placement adds and what each part is worth, on ratings as they are, and on ratings as three types of events.
ablation() {
    need ml-1m/ratings.parquet ml-100k/ratings.parquet || return 0
    as_ratings="$OUT/ablation/ml-1m" as_types="$OUT/ablation/ml-100k"
    if [ -n "$DRY" ]; then
        run ablation-1m "$CONCIERGE" ablate --data "$as_ratings"
        run ablation-100k "$CONCIERGE" ablate --data "$as_types"
        return 0
    fi
    rm -rf "$OUT/ablation"
    mkdir -p "$OUT/ablation"
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

# Scoring, learning beside LightGBM where $PYTHON has it, and what a learnt ranker costs a request.
trees() {
    run trees-speed cargo run --release --quiet -p trees --example measure -- speed
    run ranker-cost cargo run --release --quiet -p ranking --example cost
    if [ -z "$DRY" ] && ! "$PYTHON" -c 'import lightgbm' 2>/dev/null; then
        echo "SKIPPED trees beside LightGBM: no Python with lightgbm (set \$PYTHON)" >&2
        return 0
    fi
    run trees-made-up "$PYTHON" scripts/trees_beside_lightgbm.py --made-up 100000
    need lambdarank || return 0
    run trees-beside "$PYTHON" scripts/trees_beside_lightgbm.py --data "$DATA/lambdarank"
    run trees-seeds "$PYTHON" scripts/trees_beside_lightgbm.py --data "$DATA/lambdarank" --seeds 10
}

# The scripts of their own. They know DRY, DATA, OUT, PYTHON and PEERS as this one does.
closed_form() {
    scripts/closed_form_benchmarks.sh
}

als() {
    for part in $(scripts/als.sh list); do
        scripts/als.sh "$part" "$DATA"
    done
}

serving() {
    scripts/bench-serving.sh
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
CONCIERGE="${CARGO_TARGET_DIR:-target}/release/concierge"
if [ -n "$DRY" ]; then
    CONCIERGE=concierge
else
    mkdir -p "$OUT"
    cargo build --release --quiet -p cli
fi
export DRY DATA OUT PYTHON
for section in ${*:-$SECTIONS}; do
    echo "== $section"
    "$(echo "$section" | tr - _)"
done
