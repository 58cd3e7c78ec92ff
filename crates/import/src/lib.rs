//! Delimited text and JSON lines into typed rows, with inferred columns and named rejects.
