//! A small blocking HTTP/1.1 client for one kept connection on loopback: enough to load a server of
//! ours and to take the time, no more. Answers need a `content-length`.

use anyhow::{Context, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// An answer that takes longer counts as a failure of the server.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request, ready to be sent: what a load sends many times costs it no more than the sending.
pub(crate) struct Prepared(Vec<u8>);

impl Prepared {
    /// A request without a body.
    pub(crate) fn get(path: &str) -> Prepared {
        Prepared(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes())
    }

    /// JSON to be posted.
    pub(crate) fn post(path: &str, body: &str) -> Prepared {
        Prepared::with_body("POST", path, body)
    }

    /// JSON to be put.
    pub(crate) fn put(path: &str, body: &str) -> Prepared {
        Prepared::with_body("PUT", path, body)
    }

    fn with_body(method: &str, path: &str, body: &str) -> Prepared {
        let length = body.len();
        let head = "host: localhost\r\ncontent-type: application/json";
        let text = format!("{method} {path} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        Prepared(text.into_bytes())
    }
}

/// One kept connection.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    head: String,
    /// Body of the last answer.
    pub(crate) body: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection {
            reader: BufReader::new(stream),
            head: String::new(),
            body: Vec::new(),
        })
    }

    /// Posts a body and reads the answer into [`body`](Self::body); gives the status.
    pub(crate) fn post(&mut self, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<u16> {
        self.send("POST", path, kind, body)
    }

    /// Sends a body by any method and reads the answer into [`body`](Self::body); gives the status.
    pub(crate) fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<u16> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.reader.get_mut();
        if body.len() < 8192 {
            // One packet: head and body apart would wait for each other's acknowledgement.
            let mut whole = head.into_bytes();
            whole.extend_from_slice(body);
            stream.write_all(&whole)?;
        } else {
            stream.write_all(head.as_bytes())?;
            stream.write_all(body)?;
        }
        self.answer()
    }

    /// Sends a prepared request and reads the answer into [`body`](Self::body); gives the status.
    pub(crate) fn send_prepared(&mut self, request: &Prepared) -> anyhow::Result<u16> {
        self.reader.get_mut().write_all(&request.0)?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<u16> {
        self.line()?;
        let status = self.head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("expected a status line, got {:?}", self.head))?;
        let mut length = None;
        loop {
            self.line()?;
            if self.head.is_empty() {
                break;
            }
            if let Some((name, value)) = self.head.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<usize>().ok();
            }
        }
        let Some(length) = length else {
            bail!("an answer without content-length (status {status})")
        };
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        self.body.resize(length, 0);
        self.reader.read_exact(&mut self.body)?;
        Ok(status)
    }

    /// Reads a line into `head`, without its end.
    fn line(&mut self) -> anyhow::Result<()> {
        self.head.clear();
        let read = self.reader.by_ref().take(16_384).read_line(&mut self.head)?;
        ensure!(read > 0, "the server closed the connection");
        self.head.truncate(self.head.trim_end().len());
        Ok(())
    }

    /// Body of the last answer as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned()
    }
}
