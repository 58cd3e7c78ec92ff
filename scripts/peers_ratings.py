#!/usr/bin/env python3
"""Fit and test times of Surprise's models on one fold of a ratings file, a JSON line each.

    python3 -m venv venv && venv/bin/pip install scikit-surprise pandas pyarrow
    venv/bin/python scripts/peers_ratings.py RATINGS.parquet [--models BaselineOnly,SlopeOne,KNNBaseline,SVD,SVDpp] [--fold 5]

The file holds user_id, item_id, rating; if it has a column `fold`, that fold is held out, otherwise a fifth at random.
Models have their defaults, and run on one thread, as `concierge ratings` fits one fold.
"""
import argparse, json, time
import pandas as pd
import surprise

ap = argparse.ArgumentParser()
ap.add_argument("ratings")
ap.add_argument("--models", default="BaselineOnly,SlopeOne,KNNBaseline,SVD,SVDpp")
ap.add_argument("--fold", type=int, default=5)
a = ap.parse_args()
rows = pd.read_parquet(a.ratings)
held = rows.fold == a.fold if "fold" in rows else rows.index.isin(rows.sample(frac=0.2, random_state=0).index)
reader = surprise.Reader(rating_scale=(rows.rating.min(), rows.rating.max()))
columns = ["user_id", "item_id", "rating"]
train = surprise.Dataset.load_from_df(rows[~held][columns], reader).build_full_trainset()
test = list(rows[held][columns].itertuples(index=False, name=None))
for name in a.models.split(","):
    options = {"verbose": False} if name in ("BaselineOnly", "KNNBaseline") else {}
    model = getattr(surprise, name)(**options)
    start = time.perf_counter()
    model.fit(train)
    fitted = time.perf_counter()
    predictions = model.test(test)
    done = time.perf_counter()
    print(json.dumps({"model": name, "fit_s": round(fitted - start, 2), "test_s": round(done - fitted, 2),
                      "rmse": round(surprise.accuracy.rmse(predictions, verbose=False), 4), "ratings": len(test)}), flush=True)
