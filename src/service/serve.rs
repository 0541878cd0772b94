//! Takes connections on a Unix socket, knows who is at the other end, and notices when nobody is left.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::policy::Analyst;

/// What keeps a service from ending by itself: connections, and commands that run or wait.
#[derive(Debug, Default)]
pub struct Activity(watch::Sender<GoingOn>);

#[derive(Debug, Default)]
struct GoingOn {
    count: usize,
    is_over: bool,
}

impl Activity {
    /// One more thing goes on; `false` when [`Self::quiet`] has returned: nothing may begin any more.
    pub fn begin(&self) -> bool {
        let mut begun = false;
        self.0.send_if_modified(|now| {
            begun = !now.is_over;
            now.count += usize::from(begun);
            // Only the first and the last of what goes on is waited for.
            begun && now.count == 1
        });
        begun
    }

    /// One thing less.
    pub fn end(&self) {
        self.0.send_if_modified(|now| {
            now.count = now.count.saturating_sub(1);
            now.count == 0
        });
    }

    /// Returns once nothing has gone on for so long. From then on nothing begins: who comes in this very moment is sent
    /// away, and finds the next service.
    pub async fn quiet(&self, time: std::time::Duration) {
        let mut now = self.0.subscribe();
        loop {
            // The sender lives as long as self does.
            if now.wait_for(|now| now.count == 0).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(time) => {
                    self.0.send_modify(|now| now.is_over = now.count == 0);
                    if self.0.borrow().is_over {
                        return;
                    }
                }
                _ = now.wait_for(|now| now.count > 0) => {}
            }
        }
    }
}

/// Tells who a connection's process is; `None` refuses it.
pub type Who = Arc<dyn Fn(&UCred) -> Option<Analyst> + Send + Sync>;

/// Serves until `stop` is done.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: UnixListener,
    router: Router,
    who: Who,
    activity: Arc<Activity>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let counted = CountedListener { listener, who, activity };
    axum::serve(counted, router.into_make_service_with_connect_info::<Peer>()).with_graceful_shutdown(stop).await
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer(pub(super) Option<Analyst>);

impl Connected<IncomingStream<'_, CountedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, CountedListener>) -> Self {
        Self(stream.io().analyst.clone())
    }
}

struct CountedListener {
    listener: UnixListener,
    who: Who,
    activity: Arc<Activity>,
}

impl Listener for CountedListener {
    type Io = Connection;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    if !self.activity.begin() {
                        continue;
                    }
                    let analyst = stream.peer_cred().ok().and_then(|peer| (self.who)(&peer));
                    return (Connection { stream, analyst, activity: Arc::clone(&self.activity) }, address);
                }
                Err(error) => {
                    // Out of descriptors: those that are open will be closed; until then there is nothing to do but wait.
                    tracing::warn!(%error, "a connection was not taken");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that counts as activity.
struct Connection {
    stream: UnixStream,
    analyst: Option<Analyst>,
    activity: Arc<Activity>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.activity.end();
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
