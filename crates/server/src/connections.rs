//! Connections within bounds: so many at a time, and none that stays silent for ever.

use axum::serve::Listener;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Waits after a connection could not be accepted (no file descriptors left, say).
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// Accepts connections, a bounded number at a time; further ones wait in the system's queue.
pub(crate) struct Connections {
    listener: TcpListener,
    places: Arc<Semaphore>,
    silence_max: Duration,
}

impl Connections {
    /// `silence_max` must exceed the time limit of a request: while one is worked on, nothing comes.
    pub(crate) fn new(listener: TcpListener, connections_max: usize, silence_max: Duration) -> Connections {
        let places = Arc::new(Semaphore::new(connections_max));
        Connections {
            listener,
            places,
            silence_max,
        }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let place = self.places.clone().acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Answers are small and whole: waiting for more to send only delays them.
                    let _ = stream.set_nodelay(true);
                    let connection = Connection {
                        stream,
                        _place: place.ok(),
                        silence_max: self.silence_max,
                        silence: Box::pin(tokio::time::sleep(self.silence_max)),
                    };
                    return (connection, address);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing came or went for too long.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Given back when the connection ends.
    _place: Option<OwnedSemaphorePermit>,
    silence_max: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Connection {
    /// The outcome of a read or write: progress starts the silence anew, waiting lets it run.
    fn heard<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            let end = Instant::now() + self.silence_max;
            self.silence.as_mut().reset(end);
            return outcome;
        }
        match self.silence.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.heard(context, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.heard(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.heard(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
