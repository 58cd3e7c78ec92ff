//! Whoever reads may go away, as `head` does.

use crate::evaluate::{camps_in_one, write};
use crate::run::command;
use std::process::Stdio;
use tempfile::tempdir;

/// Runs with nobody who reads standard output; exit code and standard error.
#[track_caller]
fn unread(arguments: &str) -> (Option<i32>, String) {
    let mut child = command()
        .args(arguments.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("the binary ends");
    (
        ended.status.code(),
        String::from_utf8_lossy(&ended.stderr).into_owned(),
    )
}

#[test]
fn commands_end_quietly_when_nobody_reads() {
    let dir = tempdir().expect("a folder");
    let (all, items) = camps_in_one(dir.path());
    let lists = write(dir.path(), "lists.csv", "user_id,item_id,rank\nu0,i0,1\n");
    let json = dir.path().join("report.json");
    let evaluate = format!("evaluate --data {all} --split last:1 --models popular --k 3");
    for arguments in [
        format!("metrics --relevance {all} --recommendations {lists} --k 3 --json"),
        format!("metrics --relevance {all} --recommendations {lists} --k 3"),
        format!("{evaluate} --json -"),
        format!("{evaluate} --json {}", json.display()),
        format!("ratings --data {all} --models baseline --folds 2"),
        format!("ratings --data {all} --models baseline --folds 2 --json"),
        format!("tune --data {all} --items {items} --split last:1 --models popular --budget 1s --k 3"),
        "simulate --list".to_owned(),
    ] {
        let ended = unread(&arguments);
        assert_eq!(ended, (Some(141), String::new()), "{arguments}");
    }
    // What was asked for beside is done.
    assert!(json.is_file());
}

#[test]
fn what_is_wrong_is_told_by_the_exit_code_if_nobody_reads_standard_error() {
    let mut child = command()
        .args(["status", "--data", "/no/such/folder"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("the binary ends").code(), Some(2));
}
