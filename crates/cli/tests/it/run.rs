//! The binary as a child process.

use std::process::{Command, Output, Stdio};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Panics with everything that was said if the exit code is another one.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Ran {
        assert_eq!(
            self.code, expected,
            "standard output:\n{}\nstandard error:\n{}",
            self.out, self.err
        );
        self
    }

    /// Panics unless standard error has all of these.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Ran {
        for word in words {
            assert!(self.err.contains(word), "expected {word:?} in:\n{}", self.err);
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.out) {
            Ok(value) => value,
            Err(error) => panic!("{error} in:\n{}\nstandard error:\n{}", self.out, self.err),
        }
    }
}

/// The binary with a quiet, known environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concierge"));
    command
        .env("CONCIERGE_LOG", "warn")
        .env_remove("RUST_LOG")
        .env_remove("CONCIERGE_API_KEY")
        .stdin(Stdio::null());
    command
}

/// Runs it to the end. Arguments are cut at spaces.
#[track_caller]
pub(crate) fn concierge(arguments: &str) -> Ran {
    ran(command()
        .args(arguments.split_whitespace())
        .output()
        .expect("the binary starts"))
}

/// What a finished child said.
pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
