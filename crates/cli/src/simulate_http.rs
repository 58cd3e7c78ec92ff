//! A running server as the target of a simulation. The clock and the configuration are the server's own.

use crate::bench::http::Connection;
use crate::failure::bad_input;
use ::simulate::{Shown, SimulateError, Target, Visit};
use assembly::{EventInput, ItemInput, RecommendRequest};
use domain::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of one request.
const ROWS_MAX: usize = 10_000;

/// A server and kept connections to it.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    idle: Arc<Mutex<Vec<Connection>>>,
    connections: usize,
}

/// What an answer to a request for a slate says that matters here.
#[derive(Deserialize)]
struct Slate {
    decision_id: String,
    items: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    item_id: String,
}

fn fails(doing: &'static str, reason: impl ToString) -> SimulateError {
    SimulateError::Target {
        doing,
        reason: reason.to_string(),
    }
}

impl Server {
    /// The server at `http://host:port`.
    pub(crate) fn at(url: &str, connections: usize) -> anyhow::Result<Server> {
        let wrong = || bad_input("--url", url, "a server such as http://127.0.0.1:7800");
        let host = url
            .strip_prefix("http://")
            .ok_or_else(wrong)?
            .trim_end_matches('/');
        let address = host
            .to_socket_addrs()
            .ok()
            .and_then(|mut all| all.next())
            .ok_or_else(wrong)?;
        Ok(Server {
            address,
            idle: Arc::default(),
            connections,
        })
    }

    fn call(
        &self,
        doing: &'static str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, SimulateError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(self.address).map_err(|e| fails(doing, e))?,
        };
        let status = connection
            .send(method, path, "application/json", body)
            .map_err(|e| fails(doing, format!("{e:#}")))?;
        if !(200..300).contains(&status) {
            return Err(fails(doing, format!("status {status}: {}", connection.text())));
        }
        let answer = std::mem::take(&mut connection.body);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        Ok(answer)
    }

    fn put(
        &self,
        doing: &'static str,
        method: &str,
        path: &str,
        rows: &impl serde::Serialize,
    ) -> Result<(), SimulateError> {
        let body = serde_json::to_vec(rows).map_err(|e| fails(doing, e))?;
        let answer = self.call(doing, method, path, &body)?;
        let told: Value = serde_json::from_slice(&answer).map_err(|e| fails(doing, e))?;
        match told["rejected"].as_array().and_then(|rows| rows.first()) {
            None => Ok(()),
            Some(row) => Err(fails(doing, format!("a row was refused: {row}"))),
        }
    }

    fn slate(&self, placement: &str, n: usize, visit: &Visit) -> Result<Shown, SimulateError> {
        const DOING: &str = "asking for a slate";
        let request = RecommendRequest {
            placement: placement.to_owned(),
            user_id: Some(visit.user_id.clone()),
            attributes: visit.attributes.clone(),
            n: Some(n),
            seed: Some(visit.seed),
            ..RecommendRequest::default()
        };
        let body = serde_json::to_vec(&request).map_err(|e| fails(DOING, e))?;
        let answer = self.call(DOING, "POST", "/v1/recommend", &body)?;
        let slate: Slate = serde_json::from_slice(&answer).map_err(|e| fails(DOING, e))?;
        Ok(Shown {
            decision_id: slate.decision_id,
            items: slate.items.into_iter().map(|item| item.item_id).collect(),
        })
    }
}

impl Target for Server {
    fn set_clock(&self, _now: Timestamp) -> bool {
        false
    }

    fn put_items(&self, items: Vec<ItemInput>) -> Result<(), SimulateError> {
        // The server's clock is not the simulation's: items are new when they come.
        let timeless = |item: &ItemInput| ItemInput {
            added_at: None,
            ..item.clone()
        };
        items.chunks(ROWS_MAX).try_for_each(|rows| {
            let rows: Vec<ItemInput> = rows.iter().map(timeless).collect();
            self.put("putting items", "PUT", "/v1/items", &rows)
        })
    }

    fn tell(&self, events: Vec<EventInput>) -> Result<(), SimulateError> {
        let mut batches = events.chunks(ROWS_MAX);
        batches.try_for_each(|rows| self.put("telling events", "POST", "/v1/events", &rows))
    }

    fn show(&self, placement: &str, n: usize, visits: &[Visit]) -> Result<Vec<Shown>, SimulateError> {
        let size = visits.len().div_ceil(self.connections).max(1);
        let one = |part: &[Visit]| {
            let slates = part.iter().map(|visit| self.slate(placement, n, visit));
            slates.collect::<Result<Vec<Shown>, SimulateError>>()
        };
        let parts: Vec<Result<Vec<Shown>, SimulateError>> = std::thread::scope(|scope| {
            let workers: Vec<_> = visits
                .chunks(size)
                .map(|part| scope.spawn(move || one(part)))
                .collect();
            let ended = || fails("asking for a slate", "a worker ended before its time");
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(ended())))
                .collect()
        });
        let mut shown = Vec::with_capacity(visits.len());
        for part in parts {
            shown.extend(part?);
        }
        Ok(shown)
    }

    fn train(&self) -> Result<(), SimulateError> {
        let body = json!({"wait": true}).to_string();
        self.call("training", "POST", "/v1/train", body.as_bytes())
            .map(|_| ())
    }
}
