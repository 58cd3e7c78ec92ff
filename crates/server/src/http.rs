//! From axum's requests to calls and back: bodies within their limit, time limits, blocking threads.

use crate::admission::Turned;
use crate::answer::Answer;
use crate::app::App;
use crate::operations::{Operation, Work};
use assembly::Problem;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request, read whole.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Parts of the path by name, decoded.
    pub(crate) parts: Vec<(String, String)>,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A part of the path.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.parts
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// A form, or what follows the question mark, decoded.
    pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
        let decode = |text: &str| {
            let mut out = Vec::new();
            let mut bytes = text.bytes();
            while let Some(byte) = bytes.next() {
                match byte {
                    b'+' => out.push(b' '),
                    b'%' => {
                        let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                        let hex = std::str::from_utf8(&hex).unwrap_or("");
                        out.push(u8::from_str_radix(hex, 16).unwrap_or(b'?'));
                    }
                    other => out.push(other),
                }
            }
            String::from_utf8_lossy(&out).into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(name, value)| (decode(name), decode(value))).collect()
    }
}

/// What is sent back.
pub(crate) fn response(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(answer.content_type));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Bodies above this many bytes take a place of those for large ones.
const LARGE_BYTES: usize = 64 * 1024;

/// Parts of a path, decoded, unless they are no text.
pub(crate) type Parts = Result<RawPathParams, RawPathParamsRejection>;

fn told_length(headers: &HeaderMap) -> Option<usize> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

fn too_large(got: String, max: usize) -> Answer {
    let problem = Problem::new("body", got, format!("at most {max} bytes; send it in parts"));
    Answer::refused(413, "too-large", "The body is too large", &problem)
}

/// Reads the body, up to the limit.
async fn read_body(body: Body, headers: &HeaderMap, max: usize) -> Result<Vec<u8>, Answer> {
    if let Some(told) = told_length(headers).filter(|told| *told > max) {
        return Err(too_large(format!("{told} bytes"), max));
    }
    match axum::body::to_bytes(body, max).await {
        Ok(bytes) => Ok(bytes.into()),
        // A limit passed and a connection gone look alike; only in the first case somebody reads this.
        Err(_) => Err(too_large(format!("more than {max} bytes"), max)),
    }
}

/// Runs one operation: limits, access, handler, metrics.
pub(crate) async fn run(
    app: Arc<App>,
    operation: Option<&'static Operation>,
    parts: Option<Parts>,
    request: Request,
) -> Response {
    let start = Instant::now();
    let route = operation.map_or("unknown", |operation| operation.path);
    let method = request.method().as_str().to_owned();
    let limit = Duration::from_millis(app.service.config().server.request_timeout_ms);
    let answer = match tokio::time::timeout(limit, answer(&app, operation, parts, request)).await {
        Ok(answer) => answer,
        Err(_) => {
            let got = format!("no whole request and answer within {} ms", limit.as_millis());
            let expected = "a request that is sent and done by then; sending it again is safe";
            Answer::refused(
                408,
                "time",
                "It took too long",
                &Problem::new("request", got, expected),
            )
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    app.numbers.request(route, &method, answer.status, seconds);
    tracing::debug!(method, route, status = answer.status, seconds, "answered");
    response(answer)
}

async fn answer(
    app: &Arc<App>,
    operation: Option<&'static Operation>,
    parts: Option<Parts>,
    request: Request,
) -> Answer {
    let (head, body) = request.into_parts();
    let mut call = Call {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or("").to_owned(),
        headers: head.headers,
        ..Call::default()
    };
    if let Err(refused) = app.access.check(&call) {
        return refused;
    }
    match &parts {
        None => {}
        Some(Ok(parts)) => call.parts.extend(
            parts
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        Some(Err(_)) => return Answer::input(&Problem::new("path", call.path, "parts that decode to UTF-8")),
    }
    let Some(operation) = operation else {
        return app.unknown(&call);
    };
    let max = app.service.config().server.max_body_bytes;
    let is_large = match told_length(&call.headers) {
        Some(told) => told > LARGE_BYTES && told <= max,
        None => call.headers.contains_key("transfer-encoding"),
    };
    let place = match is_large {
        true => app.large_bodies.clone().acquire_owned().await.ok(),
        false => None,
    };
    call.body = match read_body(body, &call.headers, max).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    if operation.work == Work::Light {
        return (operation.handler)(app, &call);
    }
    let permit = match app.admission.enter().await {
        Ok(permit) => permit,
        Err(turned) => {
            app.numbers.turned_away(turned.word());
            return Answer::unavailable(match turned {
                Turned::Full => "as many requests wait as may; send it again a little later",
                Turned::Late => "no place came free in time; send it again a little later",
                Turned::Stopping => "the server is stopping",
            });
        }
    };
    let processor = match operation.work {
        Work::Deciding => app.deciding.clone().acquire_owned().await.ok(),
        Work::Light | Work::Other => None,
    };
    let app = app.clone();
    let work = move || {
        let answer = (operation.handler)(&app, &call);
        drop((permit, place, processor));
        answer
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Answer::fault(&format!("a handler came to grief: {error}")),
    }
}
