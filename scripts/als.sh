#!/usr/bin/env bash
# Tables of implicit ALS. Usage: scripts/als.sh PART DATA, where DATA holds the public data sets as folders and PART is one of
#   kernels     share of the machine's peak
#   growth      time and memory of a pass from 10 to 100 million interactions (needs 12 GB)
#   choose      configurations for Gowalla on a tenth of its training pairs
#   gowalla     the chosen ones on its test pairs, 128 to 512 factors
#   cold        items without training rows, CiteULike-a (test part) and MovieLens 1M
#   handover    from attributes to behaviour over 0 to 20 interactions, items and people
# Run from the root of the repository, after cargo build --release -p cli.
set -euo pipefail
part=${1:?expected a part} data=${2:-.}
concierge=${CARGO_TARGET_DIR:-target}/release/concierge
als() { printf 'als:{"factors":%s,"unobserved_weight":%s,"reg":%s}' "$1" "$2" "$3"; }
case $part in
kernels) cargo run --release -p numeric --example kernels ;;
growth) $concierge bench training --svg growth.svg ;;
choose)
  $concierge evaluate --data "$data/gowalla/train.parquet" --split random:0.9 --k 20 --seed 1 --models \
    "$(als 128 0.03 0.002),$(als 128 0.03 0.005),$(als 128 0.015 0.005),$(als 128 0.06 0.004),$(als 128 0.015 0.01),als:{\"factors\":128}" ;;
gowalla)
  $concierge evaluate --train "$data/gowalla/train.parquet" --test "$data/gowalla/test.parquet" --k 20 --models \
    "als:{\"factors\":128},als:{\"factors\":256},$(als 128 0.02 0.0015),$(als 512 0.02 0.0015)" ;;
cold)
  split=$data/citeulike-a/cold_split
  $concierge evaluate --train "$split/train.parquet" --test "$split/test.parquet" --items "$data/citeulike-a/item_tags.parquet" \
    --protocol unseen-item --share 0 --among unseen --k 20,100 --models 'als,als:{"factors":256},content,popular'
  $concierge evaluate --data "$data/ml-1m/ratings.parquet" --split last:20 --items "$data/ml-1m/movies.tsv" \
    --protocol unseen-item --among unseen --k 20,100 --models als,content,popular ;;
handover)
  $concierge evaluate --data "$data/ml-1m/ratings.parquet" --split last:20 --items "$data/ml-1m/movies.tsv" \
    --protocol few-shot-item --among unseen --shots 0,1,2,3,5,10,20 --k 20 --models 'als,als:{"item_attributes":false}'
  $concierge evaluate --data "$data/ml-100k/ratings.parquet" --split last:20 --items "$data/ml-100k/items.tsv" \
    --protocol few-shot-item --among unseen --shots 0,1,2,3,5,10,20 --k 20 \
    --models 'als,als:{"item_pull":0},als:{"item_attributes":false}'
  $concierge evaluate --data "$data/ml-1m/ratings.parquet" --split last:20 --users "$data/ml-1m/users.tsv" \
    --protocol few-shot-user --shots 0,1,2,3,5,10,20 --k 20 --models 'als,als:{"user_attributes":false},popular' ;;
*) echo "no part $part" >&2; exit 2 ;;
esac
