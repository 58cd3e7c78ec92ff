//! What went wrong, said so that a person knows who must act, and the exit code for machines:
//! 0 done, 1 the operator must look after something, 2 the input cannot be.

use assembly::{Actor, ServiceError};
use std::process::ExitCode;

/// An argument or a file that cannot be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{field}: got {got}, expected {expected}")]
pub(crate) struct BadInput {
    field: String,
    got: String,
    expected: String,
}

/// An error about the caller's input: which field, what was there, what was expected.
pub(crate) fn bad_input(
    field: impl Into<String>,
    got: impl Into<String>,
    expected: impl Into<String>,
) -> anyhow::Error {
    BadInput { field: field.into(), got: got.into(), expected: expected.into() }.into()
}

/// Who must act on an error.
fn actor(error: &anyhow::Error) -> Actor {
    for cause in error.chain() {
        if cause.is::<BadInput>() || cause.is::<crate::errors::InputError>() {
            return Actor::Caller;
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
    eprintln!("error: {error:#}");
    eprintln!("to act: {who}");
    ExitCode::from(code)
}
