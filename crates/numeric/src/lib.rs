//! Sparse matrices, small dense solves, top-k, seeded streams and statistics.
//!
//! Everything here is a pure function of its arguments: no clock, no global randomness, and the
//! same bytes at any number of threads, because sums are taken in a fixed order.
//!
//! What this crate does not know: items, users, models, files.
//!
//! Entry points: [`Csr`], [`Cholesky`], [`dot`], [`top_k`], [`SeededStream`],
//! [`parallel_chunks`], [`bootstrap_mean`], [`codes`].

mod approach;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod blocked;
mod cholesky;
mod chunked;
pub mod codes;
#[cfg(target_arch = "x86_64")]
mod codes_avx2;
mod counted;
mod csr;
mod dense;
mod eigen;
mod frontier_marginals;
mod gamma;
mod gather;
mod kernels;
mod large;
mod normal;
mod panel;
mod parallel;
mod product;
mod race_marginals;
#[cfg(target_arch = "x86_64")]
mod simd;
mod spread;
mod statistics;
mod stream;
mod svd;
mod top;
mod wide;
mod ziggurat;

pub use approach::{ApproachRoom, WeightedRows, approach};
pub use cholesky::{Cholesky, NotPositiveDefinite};
pub use chunked::Chunked;
pub use counted::{
    COUNTED_LANES, CountedLanes, add_odds, count_events, double_odds, double_times, double_times_with,
    odds_by,
};
pub use csr::{Csr, CsrError};
pub use dense::invert_symmetric;
pub use eigen::{SymmetricEigen, symmetric_eigen};
pub use frontier_marginals::frontier_marginals;
pub use gamma::ln_gamma;
pub use gather::Sums;
pub use kernels::{add_rows, axpy, dot, dot_rows, dots_at, gram, norm, syrk_add, syrk_add_at, weighted_gram};
pub use large::large_zeros;
pub use normal::{NORMAL_POINTS, NormalAt, NormalValue, multiply_normal_below, normal_below, normals_at};
pub use panel::{PANEL, PanelTerms, multiply_panel};
pub use parallel::{on_threads, parallel_chunks, parallel_chunks_with, parallel_rows_with};
pub use product::{multiply_add, multiply_transposed};
pub use race_marginals::race_marginals;
pub use spread::Spread;
pub use statistics::{Interval, bootstrap_mean, mean, quantile, variance};
pub use stream::{SeededStream, hash_bytes, mix};
pub use svd::{NotConverged, TruncatedSvd, truncated_svd};
pub use top::{Ranked, TopK, top_k};
