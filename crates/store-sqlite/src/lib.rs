//! Catalogue, schema and registries in SQLite.
