//! Parquet files into the rows of the import crate, and back.
