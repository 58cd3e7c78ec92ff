//! Stage 6: the decision log.
