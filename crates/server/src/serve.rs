//! Listening, serving, stopping.

use crate::access::Access;
use crate::admission::Admission;
use crate::app::App;
use crate::background::{self, Stop};
use crate::connections::Connections;
use crate::http;
use crate::numbers::Numbers;
use crate::operations::OPERATIONS;
use assembly::{Service, ServiceError};
use axum::Router;
use axum::extract::Request;
use axum::routing::{MethodFilter, on};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long requests under way may take once the server is told to stop.
const GRACE: Duration = Duration::from_secs(20);
/// Connections at one time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;
/// Requests with a large body at one time, so that bodies cannot fill the memory.
const LARGE_BODIES_MAX: usize = 8;

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// Where to listen; port 0 for any that is free.
    pub listen: SocketAddr,
    /// The key that requests must carry. Needed to listen beyond this machine.
    pub api_key: Option<String>,
    /// Names under which a server on loopback may be asked, besides `localhost` and its addresses.
    pub hosts: Vec<String>,
    /// Requests handled at one time; others wait, within the bounds of the configuration.
    pub concurrency: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 7800)),
            api_key: None,
            hosts: Vec::new(),
            concurrency: 32,
        }
    }
}

/// With more items, what takes longest is a pass over their vectors, which requests share if they are at work at the same time.
const LARGE_CATALOGUE: u64 = 200_000;
/// Decisions per processor where they wait for that, or for the disk.
const WAITING_PER_PROCESSOR: usize = 8;

/// How many decisions are worked at at one time.
fn deciding_at_once(service: &Service) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let is_waiting = service.status().items > LARGE_CATALOGUE || service.config().decisions_wait_for_disk;
    match is_waiting {
        true => processors * WAITING_PER_PROCESSOR,
        // Twice as many, so that no processor waits for the next request to be handed over.
        false => 2 * processors,
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Everybody could ask.
    #[error(
        "listen: got {0}, which others can reach, and no API key; expected a key, or an address of this machine alone such as 127.0.0.1:7800"
    )]
    KeyNeeded(SocketAddr),
    /// A key that is none.
    #[error("api key: got {0} characters, expected at least 16 without spaces or control characters")]
    WeakKey(usize),
    /// The address cannot be had.
    #[error("listening on {address}: {reason}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The system refused a thread or a runtime.
    #[error("starting: {0}")]
    Start(std::io::Error),
    /// The connection could not be served on.
    #[error("serving: {0}")]
    Serve(std::io::Error),
    /// The service could not be closed.
    #[error(transparent)]
    Close(#[from] ServiceError),
}

/// A server that listens and does not answer yet.
pub struct Server {
    service: Arc<Service>,
    options: ServerOptions,
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// [`ServerError::KeyNeeded`] for an address that others can reach without a key, [`ServerError::WeakKey`] for a
    /// key that is easily guessed, [`ServerError::Listen`] for an address that cannot be had.
    pub fn bind(service: Arc<Service>, options: ServerOptions) -> Result<Server, ServerError> {
        match &options.api_key {
            Some(key) if key.len() < 16 || key.chars().any(|c| c.is_control() || c.is_whitespace()) => {
                return Err(ServerError::WeakKey(key.chars().count()));
            }
            None if !options.listen.ip().is_loopback() => return Err(ServerError::KeyNeeded(options.listen)),
            _ => {}
        }
        let listen = |reason| ServerError::Listen {
            address: options.listen,
            reason,
        };
        let listener = std::net::TcpListener::bind(options.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Server {
            service,
            options,
            listener,
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` comes, then takes no more connections, finishes what is under way (for up to
    /// 20 seconds), ends the background threads and closes the service.
    ///
    /// # Errors
    /// What the system refuses, or what the service says when it is closed.
    pub fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .max_blocking_threads(self.options.concurrency.max(1) + 8)
            .thread_name("http")
            .build()
            .map_err(ServerError::Start)?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let app = Arc::new(App {
            service: self.service.clone(),
            access: Access {
                api_key: self.options.api_key.clone(),
                is_loopback: self.address.ip().is_loopback(),
                hosts: self.options.hosts.clone(),
            },
            numbers: Numbers::new(),
            admission: {
                let config = &self.service.config().server;
                let wait_max = Duration::from_millis(config.queue_wait_ms);
                Admission::new(self.options.concurrency, config.queue_max, wait_max)
            },
            deciding: Arc::new(Semaphore::new(deciding_at_once(&self.service))),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES_MAX)),
            is_stopping: is_stopping.clone(),
        });
        let threads_stop = Arc::new(Stop::default());
        // First requests need not wait for what models work out when first asked.
        self.service.warm();
        let threads = background::start(&self.service, &threads_stop).map_err(ServerError::Start)?;
        let listener = self.listener;
        let silence_max = Duration::from_millis(self.service.config().server.request_timeout_ms) * 2;
        let served = runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(ServerError::Serve)?;
            let listener = Connections::new(listener, CONNECTIONS_MAX, silence_max);
            let (told, mut heard) = tokio::sync::watch::channel(false);
            let stopping = async move {
                stop.await;
                is_stopping.store(true, Ordering::SeqCst);
                let _ = told.send(true);
            };
            let serving = axum::serve(listener, router(&app)).with_graceful_shutdown(stopping);
            let late = async move {
                let _ = heard.changed().await;
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                served = async { serving.await } => served.map_err(ServerError::Serve),
                () = late => {
                    tracing::warn!("requests still under way are given up");
                    Ok(())
                }
            }
        });
        threads_stop.tell();
        let closed = self.service.close();
        runtime.shutdown_timeout(GRACE);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a background thread came to grief");
            }
        }
        // Once more, for what was decided while the threads ended.
        let closed = closed.and(self.service.close());
        served?;
        Ok(closed?)
    }
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}

/// Routes of the table; everything else is told what there is.
fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for operation in OPERATIONS {
        let app = app.clone();
        let handler = move |parts: http::Parts, request: Request| {
            http::run(app.clone(), Some(operation), Some(parts), request)
        };
        router = router.route(operation.path, on(filter(operation.method), handler));
    }
    let (for_method, for_path) = (app.clone(), app.clone());
    router
        .method_not_allowed_fallback(move |request: Request| {
            http::run(for_method.clone(), None, None, request)
        })
        .fallback(move |request: Request| http::run(for_path.clone(), None, None, request))
}

/// Comes when the process is told to end: SIGTERM, or Ctrl-C.
pub async fn until_signal() {
    let interrupt = tokio::signal::ctrl_c();
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = interrupt.await;
        return;
    };
    tokio::select! {
        _ = interrupt => {}
        _ = terminate.recv() => {}
    }
}
