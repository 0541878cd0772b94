//! The background process of the embedded default: service and agent of this machine in one, started by the first shell and
//! ending by itself when nobody is connected and nothing runs.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::platform::{Root, own_program};
use crate::agent::{Agent, AgentOptions};
use crate::host::{Home, MountedRoot, on_removal, private_file, private_folder, start};
use crate::protocol::link::AgentLink;
use crate::service::{self, Activity, Analyst, Policy, Service, ServiceOptions, Who};

/// How long nobody has to be connected before the process ends.
const LINGER: Duration = Duration::from_secs(1);
/// How often the process looks whether its socket is still there where its folder cannot be watched.
const SOCKET_CHECK: Duration = Duration::from_secs(1);
/// Threads for verbs: more than the queue lets run at once.
const VERB_THREADS: usize = 256;

/// Runs the background process to its end.
///
/// # Errors
/// When it was not started by a shell, or home, policy or store cannot be used.
pub fn run(home: &Home) -> io::Result<()> {
    let (listener, lock, word) = start::take_over()?;
    log_to(home);
    start::raise_descriptor_limit();
    let mut word = Some(word);
    let ran = lock.try_clone().and_then(|copy| serve(home, listener, copy, &mut word));
    if let (Some(word), Err(error)) = (word, &ran) {
        word.failed(error);
    }
    if let Err(error) = &ran {
        tracing::error!(%error, "the service ended");
    }
    // The lock goes last: until then no other service of this home starts.
    drop(lock);
    ran
}

fn serve(home: &Home, listener: UnixListener, lock: File, word: &mut Option<start::Word>) -> io::Result<()> {
    let policy = Policy::load(&home.service().join("service.toml"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Verbs, store and spool have threads of their own. What is left is passing on; a second worker mostly woke the first:
        // one spares a small command a third of its changes of thread (37 → 23).
        .worker_threads(1)
        .max_blocking_threads(VERB_THREADS)
        .thread_keep_alive(Duration::from_secs(30))
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let (root, writable) = match home.root() {
            None => (Root::live(), true),
            Some(root) => (Root::at(&root.folder)?, root.writable),
        };
        let options = AgentOptions { root, writable, folder: home.agent(), program: own_program() };
        let agent = Agent::new(options, runtime.handle().clone());
        let links: Vec<Arc<dyn AgentLink>> = vec![Arc::new(agent)];
        let activity = Arc::new(Activity::default());
        let options = ServiceOptions { folder: home.service(), policy: policy.clone(), links, activity: Arc::clone(&activity) };
        let service = Service::start(options).await.map_err(io::Error::other)?;
        let owner = rustix::process::geteuid().as_raw();
        let who = move |peer: &tokio::net::unix::UCred| {
            let name = start::user_name(peer.uid());
            let roles = (peer.uid() == owner).then(|| policy.roles(&name, true)).flatten()?;
            Some(Analyst { name, roles, pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()) })
        };
        let who: Who = Arc::new(who);
        let serving = Serving { home: home.clone(), lock, service: service.clone(), who, activity };
        if let Some(word) = word.take() {
            word.ready();
        }
        let served = serving.until_quiet(listener).await;
        service.close().await;
        served
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// All that connections are taken with.
struct Serving {
    home: Home,
    lock: File,
    service: Service,
    who: Who,
    activity: Arc<Activity>,
}

impl Serving {
    /// Takes connections until nobody is left; at another socket too, once the first one's folder was removed.
    async fn until_quiet(mut self, listener: UnixListener) -> io::Result<()> {
        let over = CancellationToken::new();
        let mut socket = path_of(&listener)?;
        let mut serving = vec![self.serve(listener, over.clone())?];
        let mut watch = removal_of(&socket);
        let activity = Arc::clone(&self.activity);
        let quiet = activity.quiet(LINGER);
        tokio::pin!(quiet);
        loop {
            tokio::select! {
                () = &mut quiet => break,
                () = heard(watch.as_ref()) => {}
            }
            if !socket.exists() {
                if let Some(Err(gone)) = self.home.root().map(MountedRoot::check) {
                    // Whoever opens what is there now needs this home. Nobody here is waited for: nothing can be answered any more.
                    tracing::warn!(%gone, "the service ends");
                    return Ok(());
                }
                match start::bind_again(&self.home, &mut self.lock) {
                    Ok(listener) => {
                        socket = path_of(&listener)?;
                        serving.push(self.serve(listener, over.clone())?);
                        watch = removal_of(&socket);
                    }
                    Err(error) => {
                        tracing::error!(%error, "the socket was removed, and no other can be bound");
                        // There is no folder to watch: it is tried again after a while.
                        watch = None;
                    }
                }
            }
        }
        over.cancel();
        for served in serving {
            served.await??;
        }
        // A starter that comes now waits for the lock and binds anew.
        start::remove_socket(&socket);
        Ok(())
    }

    fn serve(&self, listener: UnixListener, over: CancellationToken) -> io::Result<JoinHandle<io::Result<()>>> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let (router, activity) = (service::router(self.service.clone()), Arc::clone(&self.activity));
        Ok(tokio::spawn(service::serve(listener, router, Arc::clone(&self.who), activity, over.cancelled_owned())))
    }
}

/// Hears what is removed from a socket's folder; `None` where it cannot be watched.
fn removal_of(socket: &Path) -> Option<Arc<Notify>> {
    let heard = Arc::new(Notify::new());
    let tell = Arc::clone(&heard);
    let watched = on_removal(socket.parent()?, move || tell.notify_one());
    watched.inspect_err(|error| tracing::warn!(%error, "the socket's folder is not watched")).ok()?;
    // What went before anybody listened is seen at the first look.
    heard.notify_one();
    Some(heard)
}

/// Returns when something was removed; without a watch after a while.
async fn heard(watch: Option<&Arc<Notify>>) {
    match watch {
        Some(watch) => watch.notified().await,
        None => tokio::time::sleep(SOCKET_CHECK).await,
    }
}

fn path_of(listener: &UnixListener) -> io::Result<PathBuf> {
    let address = listener.local_addr()?;
    address.as_pathname().map(Path::to_owned).ok_or_else(|| io::Error::other("the socket has no path"))
}

/// Service and agent log into a file of the home.
fn log_to(home: &Home) {
    let folder = home.log();
    let file = private_folder(&folder).and_then(|()| private_file().create(true).append(true).open(folder.join("service.log")));
    // Without a log the service still does its work.
    if let Ok(file) = file {
        let filter = tracing_subscriber::EnvFilter::try_from_env("LRSH_LOG").unwrap_or_else(|_| "warn".into());
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Arc::new(file)).try_init();
    }
}
