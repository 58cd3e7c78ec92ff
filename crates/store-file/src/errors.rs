//! Making store errors from what the system says.

use domain::StoreError;
use std::path::Path;

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.display().to_string();
    move |error| StoreError::Io {
        action,
        path,
        reason: error.to_string(),
    }
}

pub(crate) fn damaged(path: &Path, offset: u64, reason: impl Into<String>) -> StoreError {
    StoreError::Damaged {
        path: path.display().to_string(),
        offset,
        reason: reason.into(),
    }
}
