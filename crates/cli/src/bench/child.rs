//! The server under load: this same program as a child, so that its memory and time are its own.

use super::http::Connection;
use anyhow::Context;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running `concierge serve`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server on a free port of loopback and waits until it answers.
    pub(crate) fn start(data: &Path) -> anyhow::Result<Server> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--json",
                "--until-stdin-ends",
                "--data",
            ])
            .arg(data)
            .env_remove("CONCIERGE_API_KEY")
            // Held open as long as this process lives, so that the server does not outlive it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server")?;
        let out = child.stdout.take().context("the server has no standard output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let told: serde_json::Value = serde_json::from_str(&line)
            .with_context(|| format!("the server said {line:?} instead of its address"))?;
        let address = told["address"].as_str().and_then(|text| text.parse().ok());
        let address = address.with_context(|| format!("no address in {line:?}"))?;
        let server = Server { child, address };
        // It listens before it is warm; the load begins with its first answer.
        let status = Connection::open(address)?.send("GET", "/healthz", "application/json", b"")?;
        anyhow::ensure!(status == 200, "the server says {status} of its health");
        Ok(server)
    }

    /// Peak resident memory of the server so far, in MB (10⁶ bytes).
    pub(crate) fn peak_mb(&self) -> Option<f64> {
        crate::memory::peak_mb_of(&self.child.id().to_string())
    }

    /// Processor time of the server so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        crate::memory::cpu_seconds_of(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing to do about a child that cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
