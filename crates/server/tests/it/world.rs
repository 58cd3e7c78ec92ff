//! A trained shop behind a server on a port of its own.

use assembly::{Service, SystemClock};
use serde_json::{Value, json};
use server::{Server, ServerOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) struct World {
    _dir: TempDir,
    pub(crate) service: Arc<Service>,
    pub(crate) address: SocketAddr,
    pub(crate) key: Option<String>,
    stop: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// An answer: status, headers as sent, body.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// Small limits, so that tests can pass them.
const CONFIG: &str = "absorb_interval_ms = 20\n[server]\nmax_body_bytes = 300000\nmax_batch_rows = 2000\nmax_json_depth = 10\nrequest_timeout_ms = 3000\n[training]\nevery_minutes = 0\n";

pub(crate) fn serve(dir: TempDir, options: ServerOptions) -> World {
    let key = options.api_key.clone();
    let (service, _) = Service::open(dir.path(), Arc::new(SystemClock::default())).unwrap();
    let server = Server::bind(service.clone(), options).unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        server
            .run(async {
                let _ = stopped.await;
            })
            .unwrap();
    });
    World {
        _dir: dir,
        service,
        address,
        key,
        stop: Mutex::new(Some(stop)),
        thread: Mutex::new(Some(thread)),
    }
}

pub(crate) fn anywhere() -> ServerOptions {
    ServerOptions {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..ServerOptions::default()
    }
}

impl World {
    pub(crate) fn empty() -> World {
        World::with(anywhere())
    }

    pub(crate) fn with(options: ServerOptions) -> World {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join(assembly::CONFIG_FILE), CONFIG).unwrap();
        serve(dir, options)
    }

    /// The same with more configuration: keys of `[server]`, and whole sections.
    pub(crate) fn configured(server: &str, sections: &str, options: ServerOptions) -> World {
        let dir = TempDir::new().unwrap();
        let text = CONFIG.replace("[training]", &format!("{server}\n[training]"));
        std::fs::write(dir.path().join(assembly::CONFIG_FILE), text + sections).unwrap();
        serve(dir, options)
    }

    /// People and things of two kinds, put in over HTTP, trained over HTTP.
    pub(crate) fn trained() -> World {
        World::empty().filled()
    }

    /// This one, filled and trained.
    pub(crate) fn filled(self) -> World {
        let world = self;
        let board = testkit::worlds::checkerboard(60, 40, 10, 3);
        let items: Vec<Value> = board
            .items
            .iter()
            .map(|(id, kind)| json!({"item_id": id, "attributes": {"title": format!("The {id}"), "kind": [kind]}}))
            .collect();
        let put = world.send("PUT", "/v1/items", &Value::from(items));
        assert_eq!((put.status, put.json()["created"].as_u64()), (200, Some(40)));
        let lines: Vec<String> = board
            .rows
            .iter()
            .map(|row| {
                let at = 1_700_000_000 + row.day * 86_400;
                json!({"user_id": row.user, "item_id": row.item, "event_type": "purchase", "timestamp": at})
                    .to_string()
            })
            .collect();
        let sent = world.raw(
            "POST",
            "/v1/events",
            &[("content-type", "application/x-ndjson")],
            lines.join("\n").as_bytes(),
        );
        assert_eq!(sent.status, 200, "{}", sent.text());
        let trained = world.send("POST", "/v1/train", &json!({"wait": true}));
        assert_eq!(trained.status, 200, "{}", trained.text());
        world
    }

    pub(crate) fn get(&self, path: &str) -> Got {
        self.raw("GET", path, &[], b"")
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Got {
        self.raw(
            method,
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub(crate) fn slate(&self, user: &str) -> Vec<String> {
        let got = self.send(
            "POST",
            "/v1/recommend",
            &json!({"placement": "home", "user_id": user}),
        );
        assert_eq!(got.status, 200, "{}", got.text());
        let items = got.json()["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| item["item_id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A request with these headers, and those that any client sends.
    pub(crate) fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("host: {}\r\n", self.address));
        }
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        if let Some(key) = &self.key {
            head.push_str(&format!("x-api-key: {key}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.bytes(&[head.as_bytes(), body].concat())
    }

    /// Bytes on a connection, and what comes back.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Got {
        // Status 0 once nobody listens any more.
        let Ok(mut stream) = TcpStream::connect(self.address) else {
            return parse(b"");
        };
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The server may answer and close before everything is sent.
        let _ = stream.write_all(bytes);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        parse(&all)
    }

    /// Tells the server to stop and waits until it has.
    pub(crate) fn stop(&self) {
        if let Some(stop) = self.stop.lock().unwrap().take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.lock().unwrap().take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.lock().unwrap().take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
    }
}

fn parse(all: &[u8]) -> Got {
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(all.len());
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let body = all.get(end + 4..).unwrap_or_default().to_vec();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunk(&body)
    } else {
        body
    };
    Got { status, head, body }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = body.windows(2).position(|w| w == b"\r\n") {
        let Ok(n) = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16) else {
            break;
        };
        if n == 0 {
            break;
        }
        out.extend(&body[end + 2..end + 2 + n]);
        body = &body[end + 4 + n..];
    }
    out
}
