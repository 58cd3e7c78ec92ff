//! Stage 4: eligibility rules and slate building.
