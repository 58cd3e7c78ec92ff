//! Ranking metrics, splits and intervals.
