//! A server as a child process, on a free port of loopback.

use crate::run::command;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running server; killed when dropped.
pub(crate) struct Served {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

impl Served {
    /// Runs `concierge serve` on a data folder and waits until it listens.
    #[track_caller]
    pub(crate) fn start(data: &Path, more: &[&str]) -> Served {
        Served::start_command("serve", data, more)
    }

    /// The same for another command that serves.
    #[track_caller]
    pub(crate) fn start_command(name: &str, data: &Path, more: &[&str]) -> Served {
        let mut child = command()
            .args([
                name,
                "--listen",
                "127.0.0.1:0",
                "--json",
                "--until-stdin-ends",
                "--data",
            ])
            .arg(data)
            .args(more)
            // Held open as long as the test lives, so that no server outlives it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it speaks");
        let told: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: got {line:?}, {:?}", child.wait()));
        let address = told["address"].as_str().expect("an address").to_owned();
        Served { child, out, address }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that hands back answers of any status.
    pub(crate) fn agent() -> ureq::Agent {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into()
    }

    /// Posts JSON; gives status and answer.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let sent = Served::agent()
            .post(format!("{}{path}", self.url()))
            .send_json(body);
        let mut answer = sent.expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_json().expect("JSON"),
        )
    }

    /// Sends a request, with JSON unless it is null; gives status and answer.
    #[track_caller]
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> (u16, serde_json::Value) {
        let (agent, url) = (Served::agent(), format!("{}{path}", self.url()));
        let sent = match method {
            "PUT" => agent.put(url).send_json(body),
            "DELETE" => agent.delete(url).call(),
            _ => agent.get(url).call(),
        };
        let mut answer = sent.expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_json().expect("JSON"),
        )
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end, as a service manager does, and waits.
    #[track_caller]
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        let killed = std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(killed.success());
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                let mut rest = String::new();
                std::io::Read::read_to_string(&mut self.out, &mut rest).expect("text");
                return (status, rest);
            }
            assert!(started.elapsed() < Duration::from_secs(20), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
