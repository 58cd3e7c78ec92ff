//! What goes back: JSON, pages, and errors in the one shape of RFC 9457.

use assembly::{Actor, Problem, ServiceError};
use serde::Serialize;
use serde_json::{Value, json};

/// An answer, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

const PROBLEM: &str = "application/problem+json";

impl Answer {
    pub(crate) fn json(status: u16, value: &impl Serialize) -> Answer {
        match serde_json::to_vec(value) {
            Ok(body) => Answer {
                status,
                content_type: "application/json",
                headers: Vec::new(),
                body,
            },
            Err(error) => Answer::fault(&format!("an answer has no JSON form: {error}")),
        }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Answer {
        Answer {
            status,
            content_type: "text/plain; charset=utf-8",
            headers: Vec::new(),
            body: text.into().into_bytes(),
        }
    }

    pub(crate) fn html(status: u16, html: String, nonce: &str) -> Answer {
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        Answer {
            status,
            content_type: "text/html; charset=utf-8",
            headers: vec![
                ("content-security-policy", policy),
                ("referrer-policy", "same-origin".to_owned()),
            ],
            body: html.into_bytes(),
        }
    }

    /// To another page, with `GET`.
    pub(crate) fn see_other(to: String) -> Answer {
        Answer {
            headers: vec![("location", to)],
            ..Answer::text(303, "")
        }
    }

    fn problem(
        status: u16,
        kind: &str,
        title: &str,
        who: Actor,
        detail: &str,
        at: Option<&Problem>,
    ) -> Answer {
        let mut body = json!({
            "type": format!("/problems/{kind}"),
            "title": title,
            "status": status,
            "detail": detail,
            "who": who,
        });
        if let (Some(object), Some(at)) = (body.as_object_mut(), at) {
            for (name, value) in [("field", &at.field), ("got", &at.got), ("expected", &at.expected)] {
                object.insert(name.to_owned(), Value::from(value.as_str()));
            }
        }
        Answer {
            content_type: PROBLEM,
            ..Answer::json(status, &body)
        }
    }

    /// The caller must change `field`.
    pub(crate) fn refused(status: u16, kind: &str, title: &str, at: &Problem) -> Answer {
        let detail = format!("{}: got {}, expected {}", at.field, at.got, at.expected);
        Answer::problem(status, kind, title, Actor::Caller, &detail, Some(at))
    }

    pub(crate) fn input(at: &Problem) -> Answer {
        Answer::refused(400, "input", "A field cannot be", at)
    }

    /// A defect of ours.
    pub(crate) fn fault(detail: &str) -> Answer {
        tracing::error!(detail, "a request failed by a defect of this program");
        Answer::problem(500, "defect", "A defect of this program", Actor::Us, detail, None)
    }

    /// Too much at once.
    pub(crate) fn unavailable(detail: &str) -> Answer {
        let answer = Answer::problem(503, "busy", "Too much at once", Actor::Operator, detail, None);
        answer.with("retry-after", "1")
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// What a service error says, in HTTP.
    pub(crate) fn error(error: &ServiceError) -> Answer {
        let detail = error.to_string();
        let who = error.actor();
        match error {
            ServiceError::Input(at) => Answer::input(at),
            ServiceError::NotFound { .. } => {
                Answer::problem(404, "not-found", "There is no such thing", who, &detail, None)
            }
            ServiceError::Gone { what, .. } => {
                let at = Problem::new(*what, "gone", "what the decision rests on");
                Answer::problem(
                    410,
                    "gone",
                    "What it rests on is not kept any more",
                    who,
                    &detail,
                    Some(&at),
                )
            }
            ServiceError::Busy(_) | ServiceError::TooLittle(_) => Answer::problem(
                409,
                "not-now",
                "Something stands against it now",
                who,
                &detail,
                None,
            ),
            ServiceError::Store(assembly_store) => match store_input(assembly_store) {
                Some(at) => Answer::input(&at),
                None => Answer::operator(&detail),
            },
            _ => Answer::operator(&detail),
        }
    }

    fn operator(detail: &str) -> Answer {
        tracing::error!(detail, "a request failed: the operator must act");
        Answer::problem(
            500,
            "storage",
            "The data folder needs attention",
            Actor::Operator,
            detail,
            None,
        )
    }
}

fn store_input(error: &domain::StoreError) -> Option<Problem> {
    match error {
        domain::StoreError::Input { field, got, expected } => Some(Problem::new(field, got, expected)),
        _ => None,
    }
}
