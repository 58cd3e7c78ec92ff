//! Making store errors from what SQLite says.

use domain::StoreError;
use rusqlite::ErrorCode;
use std::path::Path;

/// A failure of SQLite while doing `action` on `path`.
pub(crate) fn sql(action: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    let path = path.display().to_string();
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged {
            path: path.clone(),
            offset: 0,
            reason: error.to_string(),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { path: path.clone() },
        _ => StoreError::Io {
            action,
            path: path.clone(),
            reason: error.to_string(),
        },
    }
}

pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> StoreError {
    StoreError::Damaged {
        path: path.display().to_string(),
        offset: 0,
        reason: reason.into(),
    }
}
