#!/usr/bin/env python3
"""Trees learnt here and by LightGBM on the same rows, in one run.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install lightgbm numpy pyarrow
    cargo build --release -p trees --example measure
    /tmp/venv/bin/python scripts/trees_beside_lightgbm.py --data FOLDER --measure target/release/examples/measure

FOLDER has train.parquet and test.parquet with columns query_id, label, f0, f1, ... (rows of a query together).
Settings are the same on both sides: those of LightGBM's own lambdarank example. `--made-up ROWS` learns from that many made-up rows instead.
Both sides use one thread. NDCG counts a query without anything relevant as 1, as LightGBM does. Answers in JSON.
"""
import argparse
import json
import os
import resource
import subprocess
import tempfile
import time

import numpy as np


def read(folder, name):
    import pyarrow.parquet as parquet

    table = parquet.read_table(os.path.join(folder, name))
    query = table.column("query_id").to_numpy()
    columns = sorted((c for c in table.column_names if c.startswith("f")), key=lambda c: int(c[1:]))
    values = np.column_stack([table.column(c).to_numpy().astype(np.float32) for c in columns])
    starts = np.flatnonzero(np.r_[True, query[1:] != query[:-1]])
    groups = np.diff(np.r_[starts, len(query)]).astype(np.uint32)
    return groups, table.column("label").to_numpy().astype(np.float32), np.ascontiguousarray(values)


def made_up(rows, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, 60)).astype(np.float32)
    taste = values[:, 0] + np.sin(3 * values[:, 1]) + values[:, 2] * values[:, 3] + 0.5 * np.abs(values[:, 4]) + rng.standard_normal(rows)
    labels = np.digitize(taste, [0.5, 1.5, 2.5, 3.5]).astype(np.float32)
    return np.full(rows // 100, 100, np.uint32), labels, values


def ndcg(scores, labels, groups, k):
    start, total = 0, 0.0
    for size in groups:
        gains = 2.0 ** labels[start : start + size] - 1
        discounts = 1 / np.log2(np.arange(size) + 2)
        order = np.argsort(-scores[start : start + size], kind="stable")
        best = (np.sort(gains)[::-1] * discounts)[:k].sum()
        total += (gains[order] * discounts)[:k].sum() / best if best > 0 else 1.0
        start += size
    return total / len(groups)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--made-up", type=int)
    parser.add_argument("--measure", default="target/release/examples/measure")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--leaf-rows-min", type=int, default=50)
    parser.add_argument("--leaf-hessian-min", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=1, help="runs with rows (0.9) and features (0.9) drawn by this many seeds; 1: none drawn")
    args = parser.parse_args()
    import lightgbm

    if args.made_up:
        learn, test = made_up(args.made_up, 1), made_up(args.made_up // 5, 2)
    else:
        learn, test = read(args.data, "train.parquet"), read(args.data, "test.parquet")
    runs = []
    for seed in range(1, args.seeds + 1):
        share = 1.0 if args.seeds == 1 else 0.9
        parameters = {
            "objective": "lambdarank", "num_leaves": args.leaves, "learning_rate": args.learning_rate,
            "min_data_in_leaf": args.leaf_rows_min, "min_sum_hessian_in_leaf": args.leaf_hessian_min,
            "feature_fraction": share, "bagging_fraction": share, "bagging_freq": 0 if share == 1.0 else 1, "bagging_by_query": share < 1.0,
            "seed": seed, "num_threads": 1, "deterministic": True, "verbose": -1,
        }
        data = lightgbm.Dataset(learn[2], label=learn[1], group=learn[0])
        start, cpu = time.perf_counter(), time.process_time()
        booster = lightgbm.train(parameters, data, num_boost_round=args.trees)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        best = 1e9
        for _ in range(20):
            start = time.perf_counter()
            scores = booster.predict(test[2], num_threads=1)
            best = min(best, time.perf_counter() - start)
        theirs = {"train_seconds": seconds, "train_cpu_seconds": cpu, "score_seconds": best,
                  "ndcg": {str(k): ndcg(scores, test[1], test[0], k) for k in (1, 3, 5, 10)}}
        config = {"objective": "lambdamart", "trees": args.trees, "leaves": args.leaves, "learning_rate": args.learning_rate,
                  "leaf_rows_min": args.leaf_rows_min, "leaf_hessian_min": args.leaf_hessian_min, "row_share": share, "feature_share": share, "seed": seed}
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            head = [learn[2].shape[1], len(learn[1]), len(learn[0]), len(test[1]), len(test[0])]
            file.write(np.array(head, np.uint32).tobytes())
            for part in (learn, test):
                for piece in part:
                    file.write(piece.tobytes())
            file.flush()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            out = subprocess.run([args.measure, file.name, json.dumps(config)], check=True, capture_output=True, text=True,
                                 env={**os.environ, "THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = json.loads(out.stdout)
        # Of the whole process: reading, training and scoring twenty times.
        ours["process_cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        runs.append({"seed": seed, "ours": ours, "lightgbm": theirs})
    mean = lambda side, k: float(np.mean([run[side]["ndcg"][k] for run in runs]))
    summary = {k: {"ours": mean("ours", k), "lightgbm": mean("lightgbm", k)} for k in ("1", "3", "5", "10")}
    print(json.dumps({"lightgbm_version": lightgbm.__version__, "runs": runs, "mean_ndcg": summary}, indent=1))


if __name__ == "__main__":
    main()
