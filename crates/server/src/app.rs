//! What all handlers share.

use crate::access::Access;
use crate::admission::Admission;
use crate::answer::Answer;
use crate::body::BodyLimits;
use crate::http::Call;
use crate::numbers::Numbers;
use crate::operations::{self, OPERATIONS};
use assembly::{Problem, Service};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Semaphore;

pub(crate) struct App {
    pub(crate) service: Arc<Service>,
    pub(crate) access: Access,
    pub(crate) numbers: Numbers,
    pub(crate) admission: Admission,
    /// Processors for decisions.
    pub(crate) deciding: Arc<Semaphore>,
    /// Places for requests whose bodies are large, held until they are answered.
    pub(crate) large_bodies: Arc<Semaphore>,
    /// Set once the server is told to stop.
    pub(crate) is_stopping: Arc<AtomicBool>,
}

impl App {
    pub(crate) fn limits(&self) -> BodyLimits {
        let config = &self.service.config().server;
        BodyLimits {
            depth: config.max_json_depth,
            rows: config.max_batch_rows,
        }
    }

    /// A path that is not there, or not with this method.
    pub(crate) fn unknown(&self, call: &Call) -> Answer {
        let methods: Vec<&str> = OPERATIONS
            .iter()
            .filter(|op| operations::fits(op.path, &call.path))
            .map(|op| op.method)
            .collect();
        if methods.is_empty() {
            let problem = Problem::new("path", call.path.as_str(), "a path of /openapi.json");
            return Answer::refused(404, "no-such-path", "There is no such path", &problem);
        }
        let problem = Problem::new("method", call.method.as_str(), methods.join(" or "));
        let answer = Answer::refused(405, "method", "Not with this method", &problem);
        answer.with("allow", methods.join(", "))
    }
}
