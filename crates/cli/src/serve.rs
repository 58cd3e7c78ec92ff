//! `concierge serve`: the HTTP interface, until told to stop.

use crate::failure::bad_input;
use crate::{folder, output};
use anyhow::Context;
use assembly::Service;
use serde_json::json;
use server::{Server, ServerError, ServerOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Environment variable with the key.
const KEY_VARIABLE: &str = "CONCIERGE_API_KEY";

/// Serve the HTTP interface and the page to try it on.
///
/// Absorbs events and trains in the background, as configured. SIGTERM and Ctrl-C finish what is under way
/// and close the folder. Beyond loopback it needs an API key: `CONCIERGE_API_KEY`, or --api-key-file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  concierge serve --data shop --listen 127.0.0.1:7800
  concierge serve --data shop --listen 0.0.0.0:7800 --api-key-file /run/secrets/concierge")]
pub(crate) struct Args {
    /// Data folder; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    listen: ListenArgs,
}

/// Where to listen and whom to answer.
#[derive(Debug, clap::Args)]
pub(crate) struct ListenArgs {
    /// Address and port; port 0 for any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7800")]
    listen: SocketAddr,
    /// File with the key that requests must carry
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Another name under which a server on loopback may be asked
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Stop when standard input ends too, as for a parent that has ended
    #[arg(long)]
    until_stdin_ends: bool,
    /// Requests handled at one time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Say where it listens in JSON, on one line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A server that took its address.
pub(crate) struct Listening {
    address: SocketAddr,
    pub(crate) needs_key: bool,
    json: bool,
}

impl Listening {
    /// Its address for people; one that means all addresses is shown as this machine's.
    pub(crate) fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    /// Says where it listens.
    pub(crate) fn tell(&self) -> anyhow::Result<()> {
        if self.json {
            return output::line(json!({ "address": self.address, "url": self.url() }).to_string());
        }
        let url = self.url();
        output::line(format!(
            "\nlistening on {url} (page: {url}/, API: {url}/docs, stop with Ctrl-C)"
        ))
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Before the folder is opened, which can take a while.
    let options = options(&args.listen)?;
    let (service, report) = folder::open_or_create(&args.data)?;
    tracing::info!(
        events = report.events,
        items = report.items,
        seconds = report.seconds,
        "opened"
    );
    serve(service, options, &args.listen, Listening::tell)
}

/// Serves until the process is told to stop; `ready` is called once the address is taken.
pub(crate) fn until_stopped(
    service: Arc<Service>,
    args: &ListenArgs,
    ready: impl FnOnce(&Listening) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    serve(service, options(args)?, args, ready)
}

fn serve(
    service: Arc<Service>,
    options: ServerOptions,
    args: &ListenArgs,
    ready: impl FnOnce(&Listening) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let needs_key = options.api_key.is_some();
    let server = Server::bind(service, options).map_err(refused)?;
    ready(&Listening {
        address: server.address(),
        needs_key,
        json: args.json,
    })?;
    let stop = stop(args.until_stdin_ends)?;
    server.run(stop).map_err(refused)?;
    tracing::info!("stopped");
    Ok(())
}

/// Comes with a signal, or with the end of standard input if that counts.
fn stop(until_stdin_ends: bool) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    if until_stdin_ends {
        // Its own thread, which no shutdown waits for: a read of standard input cannot be called off.
        let read = move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = ended.send(());
        };
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(read)
            .context("starting a thread")?;
    }
    Ok(async move {
        let stdin = async {
            if !until_stdin_ends || end.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = server::until_signal() => {}
            () = stdin => {}
        }
    })
}

/// What the caller can mend is the caller's.
fn refused(error: ServerError) -> anyhow::Error {
    match error {
        ServerError::KeyNeeded(address) => bad_input(
            "--listen",
            format!("{address}, which others can reach, and no API key"),
            format!(
                "{KEY_VARIABLE}, --api-key-file, or an address of this machine alone such as 127.0.0.1:7800"
            ),
        ),
        ServerError::WeakKey(characters) => bad_input(
            "API key",
            format!("{characters} characters"),
            "at least 16 characters without spaces or control characters",
        ),
        other => other.into(),
    }
}

fn options(args: &ListenArgs) -> anyhow::Result<ServerOptions> {
    Ok(ServerOptions {
        listen: args.listen,
        api_key: api_key(args)?,
        hosts: args.host.clone(),
        concurrency: usize::from(args.concurrency),
    })
}

/// The key from the file, else from the environment.
fn api_key(args: &ListenArgs) -> anyhow::Result<Option<String>> {
    let text = match &args.api_key_file {
        Some(path) => std::fs::read_to_string(path).map_err(|e| {
            bad_input(
                "--api-key-file",
                format!("{} ({e})", path.display()),
                "a file with the key",
            )
        })?,
        None => match std::env::var(KEY_VARIABLE) {
            Ok(text) => text,
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(error) => return Err(error).context(KEY_VARIABLE),
        },
    };
    let key = text.trim();
    if key.is_empty() {
        let from = args
            .api_key_file
            .as_ref()
            .map_or(KEY_VARIABLE.to_owned(), |path| path.display().to_string());
        return Err(bad_input(
            "API key",
            format!("nothing in {from}"),
            "a key of at least 16 characters",
        ));
    }
    Ok(Some(key.to_owned()))
}
