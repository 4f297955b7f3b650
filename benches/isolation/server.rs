//! The server, in a process of its own: a hub as `reverb-server` runs it, started from this very program.

use std::io::{BufRead, BufReader, Lines, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use reverb_core::app_store::MemoryApps;
use reverb_core::hub::Hub;
use reverb_core::protocol::{App, ClientEvents};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::machine;

/// For the process that shall be the server: the processor it has.
const MARK: &str = "ISOLATION_SERVER";

/// What its address stands behind.
const HERE: &str = "listening on ";

/// A server that runs until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) at: SocketAddr,
    /// It must be able to speak for as long as it lives.
    _says: Lines<BufReader<ChildStdout>>,
}

/// The app that is loaded.
pub(crate) fn busy() -> App {
    app("busy")
}

/// The app that is left alone.
pub(crate) fn quiet() -> App {
    app("quiet")
}

fn app(id: &str) -> App {
    let mut app = App::new(id, &format!("{id}-key"), &format!("{id}-secret")).expect("an app");
    app.client_events = ClientEvents::Members;
    app.limits.client_events_per_second = 0;
    app.limits.presence_members = 10_000;
    // Nobody here answers pings.
    app.activity_timeout = Duration::from_secs(3600);
    app
}

impl Server {
    pub(crate) fn start(processor: usize) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .env(MARK, processor.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts again");
        let mut says = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let at = says.find_map(|line| {
            let line = line.expect("text");
            let (_, at) = line.split_once(HERE)?;
            at.parse().ok()
        });
        Self {
            child,
            at: at.expect("the server says where it listens"),
            _says: says,
        }
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor that this process shall serve on, if it is the server.
pub(crate) fn wanted() -> Option<usize> {
    let processor = std::env::var(MARK).ok()?;
    Some(processor.parse().expect("a number"))
}

/// Serves until whoever has started us is gone.
pub(crate) fn serve(processor: usize) {
    machine::keep_to(&[processor]);
    machine::raise_open_files();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let hub = Hub::builder(MemoryApps::from([busy(), quiet()]))
            .build()
            .expect("a hub");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{HERE}{}", socket.local_addr().expect("an address"));
        hub.listen(socket, hub.service());
        // Nothing comes: it ends when they end.
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = ended.await;
    });
}
