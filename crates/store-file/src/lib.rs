//! Event log as checksummed segments, sealed into Parquet.
