#!/usr/bin/env bash
# Tables of implicit ALS. Usage: scripts/als.sh PART [DATA], where DATA ($DATA, else .) holds the public data sets as folders and PART is `list` or one of
#   kernels     share of the machine's peak
#   growth      time and memory of a pass from 10 to 100 million interactions (needs 12 GB)
#   choose      configurations for Gowalla on a tenth of its training pairs
#   gowalla     the rows of the page on its test pairs, 64 to 512 factors
#   peers       Gowalla and MovieLens 1M in turns with irspack and implicit ($PEERS is a script that fits them, $PYTHON has them)
#   cold        items without training rows, CiteULike-a (test part) and MovieLens 1M
#   cold-valid  the same on the validation part of CiteULike-a
#   handover    from attributes to behaviour over 0 to 20 interactions, items and people
# DRY=1 prints the commands and runs nothing. Run from the root of the repository, after cargo build --release -p cli.
set -euo pipefail
parts="kernels growth choose gowalla peers cold cold-valid handover"
part=${1:?expected a part} data=${2:-${DATA:-.}}
concierge=${CARGO_TARGET_DIR:-target}/release/concierge
[ -z "${DRY:-}" ] || concierge=concierge
als() { printf 'als:{"factors":%s,"unobserved_weight":%s,"reg":%s%s}' "$1" "$2" "$3" "${4:-}"; }
run() {
  echo "\$ $*"
  [ -n "${DRY:-}" ] || "$@"
}
evaluate() { run "$concierge" evaluate "$@"; }
shots=(--shots 0,1,2,3,5,10,20 --k 20)
case $part in
list) tr ' ' '\n' <<<"$parts" ;;
kernels) run cargo run --release -p numeric --example kernels ;;
growth) run "$concierge" bench training --svg growth.svg ;;
choose)
  evaluate --data "$data/gowalla/train.parquet" --split random:0.9 --k 20 --seed 1 --models \
    "$(als 128 0.03 0.002),$(als 128 0.03 0.005),$(als 128 0.015 0.005),$(als 128 0.06 0.004),$(als 128 0.015 0.01),als:{\"factors\":128}" ;;
gowalla)
  evaluate --train "$data/gowalla/train.parquet" --test "$data/gowalla/test.parquet" --k 20 --models \
    "als,als:{\"factors\":128},als:{\"factors\":256},$(als 128 0.02 0.0015 ',"block":32'),$(als 512 0.02 0.0015 ',"block":32'),als:{\"factors\":128,\"epochs\":8},$(als 128 0.012 0.003 ',"epochs":6')" ;;
peers)
  for set in gowalla ml-1m/lcfn_split; do
    for turn in 1 2; do
      evaluate --train "$data/$set/train.parquet" --test "$data/$set/test.parquet" --k 20 --threads 2 --models 'als:{"factors":128,"epochs":8}'
      if [ -n "${PEERS:-}${DRY:-}" ]; then
        run "${PYTHON:-python3}" "${PEERS:-\$PEERS}" "$data/$set/train.parquet" "$data/$set/test.parquet" --models ials128,als128 --epochs 8 --threads 2
      else
        echo "SKIPPED the other libraries, turn $turn: no \$PEERS" >&2
      fi
    done
  done ;;
cold)
  split=$data/citeulike-a/cold_split
  evaluate --train "$split/train.parquet" --test "$split/test.parquet" --items "$data/citeulike-a/item_tags.parquet" \
    --protocol unseen-item --share 0 --among unseen --k 20,100 --models 'als,als:{"factors":256},content,popular'
  evaluate --data "$data/ml-1m/ratings.parquet" --split last:20 --items "$data/ml-1m/movies.tsv" \
    --protocol unseen-item --among unseen --k 20,100 --models als,content,popular ;;
cold-valid)
  split=$data/citeulike-a/cold_split
  evaluate --train "$split/train.parquet" --test "$split/valid.parquet" --items "$data/citeulike-a/item_tags.parquet" \
    --protocol unseen-item --share 0 --among unseen --k 20,100 --models \
    'content,als:{"unobserved_weight":0.03,"reg":0.003},als:{"unobserved_weight":0.05,"reg":0.01},als:{"unobserved_weight":0.2,"reg":0.01},popular' ;;
handover)
  evaluate --data "$data/ml-1m/ratings.parquet" --split last:20 --items "$data/ml-1m/movies.tsv" \
    --protocol few-shot-item --among unseen "${shots[@]}" --models 'als,als:{"item_handover":10,"user_handover":10},als:{"item_attributes":false}'
  evaluate --data "$data/ml-100k/ratings.parquet" --split last:20 --items "$data/ml-100k/items.tsv" \
    --protocol few-shot-item --among unseen "${shots[@]}" --models 'als,als:{"item_pull":0},als:{"item_attributes":false}'
  evaluate --data "$data/ml-1m/ratings.parquet" --split last:20 --users "$data/ml-1m/users.tsv" \
    --protocol few-shot-user "${shots[@]}" --models 'als,als:{"user_attributes":false},popular,blend'
  evaluate --data "$data/ml-1m/ratings.parquet" --split last:20 --users "$data/ml-1m/users.tsv" \
    --protocol few-shot-user --following --next 10 "${shots[@]}" --models 'als,als:{"user_attributes":false},popular,blend' ;;
*) echo "no part $part, expected one of: list $parts" >&2; exit 2 ;;
esac
