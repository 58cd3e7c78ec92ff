//! What went wrong, said so that a person knows who must act, and the exit code for machines:
//! 0 done, 1 the operator must look after something, 2 the input cannot be.

use crate::output;
use assembly::{Actor, ServiceError};
use std::fmt;
use std::process::ExitCode;

/// An argument or a file that cannot be.
#[derive(Debug, Clone)]
pub(crate) struct BadInput {
    field: String,
    got: String,
    expected: String,
}

/// What was given is wrong, in words of its own: the message says which file, option or field, what
/// was there and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputError(pub(crate) String);

/// An error about the caller's input: which field, what was there, what was expected.
pub(crate) fn bad_input(
    field: impl Into<String>,
    got: impl Into<String>,
    expected: impl Into<String>,
) -> anyhow::Error {
    BadInput {
        field: field.into(),
        got: got.into(),
        expected: expected.into(),
    }
    .into()
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadInput { field, got, expected } = self;
        write!(f, "{field}: got {got}, expected {expected}")
    }
}

impl std::error::Error for BadInput {}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InputError {}

/// Who must act on an error.
fn actor(error: &anyhow::Error) -> Actor {
    for cause in error.chain() {
        if cause.is::<BadInput>() || cause.is::<InputError>() {
            return Actor::Caller;
        }
        if let Some(error) = cause.downcast_ref::<import::ImportError>() {
            return match error {
                import::ImportError::Sink(_) => Actor::Operator,
                _ => Actor::Caller,
            };
        }
        if let Some(service) = cause.downcast_ref::<ServiceError>() {
            return service.actor();
        }
    }
    Actor::Operator
}

/// Writes the error to standard error and gives the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let (who, code) = match actor(error) {
        Actor::Caller => ("you: change the command or its input", 2),
        Actor::Operator => ("the operator: look after the machine or the data folder", 1),
        Actor::Us => ("us: this is a defect of Concierge, please report it", 1),
    };
    output::told(format!("error: {error:#}\nto act: {who}"));
    ExitCode::from(code)
}
