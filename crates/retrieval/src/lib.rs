//! Stage 2: candidate sources and their union with provenance.
