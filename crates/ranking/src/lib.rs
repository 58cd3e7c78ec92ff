//! Stage 3: scores for candidates.
