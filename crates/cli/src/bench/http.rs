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

    fn answer(&mut self) -> anyhow::Result<u16> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("expected a status line, got {status_line:?}"))?;
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
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

    fn line(&mut self) -> anyhow::Result<String> {
        self.head.clear();
        let read = self.reader.by_ref().take(16_384).read_line(&mut self.head)?;
        ensure!(read > 0, "the server closed the connection");
        Ok(self.head.trim_end().to_owned())
    }

    /// Body of the last answer as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned()
    }
}
