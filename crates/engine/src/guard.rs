//! Calls into stages, with panics made into errors.

use domain::StageError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a stage. What a stage leaves behind when it panics is dropped with its answer; stages are
/// shared and immutable, so nothing half-changed can be seen later.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, StageError>) -> Result<T, StageError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        Err(StageError::Failed(format!(
            "panicked: {}",
            words(payload.as_ref())
        )))
    })
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    text.chars().take(200).collect()
}
