//! Data folders: made, looked at, copied, brought back.

use crate::run::{command, ran};
use std::ffi::OsStr;
use std::path::Path;
use tempfile::tempdir;

/// Runs a command on a data folder.
#[track_caller]
pub(crate) fn on(dir: &Path, arguments: &[&str]) -> crate::run::Ran {
    let data = [OsStr::new("--data"), dir.as_os_str()];
    ran(command()
        .args(arguments)
        .args(data)
        .output()
        .expect("the binary starts"))
}

#[test]
fn a_new_folder_is_whole_and_empty() {
    let root = tempdir().expect("a folder");
    let shop = root.path().join("shop");
    assert!(
        on(&shop, &["init"])
            .code(0)
            .out
            .contains("next: concierge import")
    );
    on(&shop, &["init"])
        .code(2)
        .says(&["concierge.toml", "nothing is overwritten"]);
    let status = on(&shop, &["status", "--json"]).code(0).json();
    assert_eq!(
        (&status["events"], &status["trained_at"]),
        (&0.into(), &serde_json::Value::Null)
    );
    assert_eq!(on(&shop, &["doctor", "--json"]).code(0).json()["ok"], true);
    on(&shop, &["train"])
        .code(2)
        .says(&["training", "no interactions"]);
    on(&shop, &["similar", "--item", "nothing"])
        .code(2)
        .says(&["nothing"]);
}

#[test]
fn a_backup_is_checked_on_the_way_back() {
    let root = tempdir().expect("a folder");
    let [shop, copy, back] = ["shop", "copy", "back"].map(|name| root.path().join(name));
    on(&shop, &["init"]).code(0);
    on(&shop, &["status"]).code(0);
    let copy_text = copy.display().to_string();
    on(&shop, &["backup", "--to", &copy_text]).code(0);
    on(&shop, &["backup", "--to", &copy_text])
        .code(2)
        .says(&["empty"]);
    on(&back, &["restore", "--from", &copy_text]).code(0);
    on(&back, &["restore", "--from", &copy_text])
        .code(2)
        .says(&["empty"]);
    assert_eq!(on(&back, &["doctor", "--json"]).code(0).json()["ok"], true);
    std::fs::write(copy.join("concierge.toml"), "n = 1").expect("writable");
    let fresh = root.path().join("fresh");
    on(&fresh, &["restore", "--from", &copy_text])
        .code(2)
        .says(&["concierge.toml", "checksum"]);
    assert!(!fresh.exists(), "nothing is written before all is checked");
}

#[test]
fn a_configuration_that_cannot_be_is_the_operators() {
    let root = tempdir().expect("a folder");
    on(root.path(), &["init"]).code(0);
    std::fs::write(root.path().join("concierge.toml"), "history_events_max = 0").expect("writable");
    on(root.path(), &["status"])
        .code(1)
        .says(&["history_events_max: got 0, expected 1 to 100000", "operator"]);
    let checks = on(root.path(), &["doctor", "--json"]).code(1).json();
    assert_eq!(checks["ok"], false);
}
