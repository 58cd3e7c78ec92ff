#!/usr/bin/env python3
"""Times of other libraries for what the closed-form learners spend theirs on. One line of JSON each.

    closed_form.py tsv FILE.parquet                prints its pairs as lines user<TAB>item
    closed_form.py svd TRAIN.tsv [RANK]            SciPy's svds (ARPACK and PROPACK) of the degree-normalised matrix
    closed_form.py graph TRAIN.tsv [K] [THREADS]   implicit's cosine and BM25 graphs, irspack's RP3beta
    closed_form.py inverse N [THREADS]             OpenBLAS: potrf and potri, getrf and getri, and a product for the peak

Needs numpy and scipy; `tsv` also pandas and pyarrow, `graph` implicit and irspack. OPENBLAS_NUM_THREADS is
set from THREADS before numpy is loaded.
"""
import json, os, sys, time

what, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
if what not in ("tsv", "svd", "graph", "inverse") or not arguments:
    sys.exit(__doc__)
threads = arguments[-1] if what != "svd" and len(arguments) > (2 if what == "graph" else 1) else "2"
os.environ["OPENBLAS_NUM_THREADS"] = "1" if what == "graph" else threads
import numpy as np


def timed(name, work, **more):
    start = time.perf_counter()
    result = work()
    print(json.dumps({"what": name, "seconds": round(time.perf_counter() - start, 3), **more}), flush=True)
    return result


def matrix(path):
    import scipy.sparse as sp

    rows = np.loadtxt(path, dtype=np.int64, delimiter="\t", usecols=(0, 1))
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows[:, 0], rows[:, 1])))


if what == "tsv":
    import pandas as pd

    pd.read_parquet(arguments[0])[["user_id", "item_id"]].to_csv(sys.stdout, sep="\t", header=False, index=False)
elif what == "svd":
    import scipy.sparse as sp
    from scipy.sparse.linalg import svds

    taken, rank = matrix(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 256
    root = lambda sums: 1 / np.sqrt(np.maximum(np.asarray(sums).ravel(), 1))
    scaled = (sp.diags(root(taken.sum(1))) @ taken @ sp.diags(root(taken.sum(0)))).astype(np.float32).tocsr()
    for solver in ("arpack", "propack"):
        try:
            _, values, _ = timed(f"svds {solver} rank {rank}", lambda: svds(scaled, rank, solver=solver))
            print(json.dumps({"first": float(values.max()), "last": float(values.min())}), flush=True)
        except Exception as error:
            print(json.dumps({"what": solver, "error": str(error)}), flush=True)
elif what == "graph":
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
    from irspack.recommenders import RP3betaRecommender

    taken, k, n = matrix(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 200, int(threads)
    for kind in (CosineRecommender, BM25Recommender):
        timed(f"implicit {kind.__name__} k {k}", lambda: kind(K=k, num_threads=n).fit(taken, show_progress=False))
    timed(f"irspack RP3beta k {k}", lambda: RP3betaRecommender(taken, alpha=1.0, beta=0.5, top_k=k, n_threads=n).learn())
else:
    from scipy.linalg import lapack

    n = int(arguments[0])
    rng = np.random.default_rng(0)
    half = rng.standard_normal((n, n // 4), dtype=np.float32)
    a = np.asfortranarray(half @ half.T + n * np.eye(n, dtype=np.float32))
    b = rng.standard_normal((n, n), dtype=np.float32)
    try:
        import threadpoolctl

        kernels = [(i["internal_api"], i.get("architecture"), i["num_threads"]) for i in threadpoolctl.threadpool_info()]
        print(json.dumps({"kernels": kernels}))
    except ImportError:
        pass
    for _ in range(2):
        start = time.perf_counter()
        b @ b
        seconds = time.perf_counter() - start
        print(json.dumps({"what": "product", "seconds": round(seconds, 3), "gflops": round(2 * n**3 / seconds / 1e9, 1)}))
        start = time.perf_counter()
        lower, _ = lapack.spotrf(a, lower=1)
        lapack.spotri(lower, lower=1, overwrite_c=1)
        seconds = time.perf_counter() - start
        print(json.dumps({"what": "potrf, potri", "seconds": round(seconds, 3), "gflops": round(n**3 / seconds / 1e9, 1)}))
        timed("numpy.linalg.inv", lambda: np.linalg.inv(a))
