//! View models and pages; knows no HTTP.
