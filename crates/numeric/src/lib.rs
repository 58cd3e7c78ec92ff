//! Sparse matrices, small dense solves, top-k, seeded streams and statistics.
