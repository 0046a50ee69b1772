//! How many clients a server may have at a time, by the descriptors that the process may open.
//!
//! Owns the limit: it is raised as far as the system grants, what the runtime and the listeners take is set
//! aside, and clients for whom there are no descriptors wait in the kernel until others have left. What one
//! client takes is the program's.

use super::{Seldom, complain, listen_options};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringwork::net::ListenOptions;
use ringwork::runtime::Handle;
use ringwork::{Balance, core};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Set aside for what is open for a moment: a folder that is read, an address that is tried.
const SPARE: u64 = 16;
/// Taken to be open if `/proc` does not say.
const SURELY_OPEN: u64 = 64;

/// The descriptors of this process.
#[derive(Clone, Copy)]
pub struct Descriptors {
    /// As many as it may open.
    pub limit: u64,
    /// Those that clients may take.
    pub free: u64,
}

impl Descriptors {
    /// Takes as many as the system grants. To be called in the runtime, before it listens.
    pub fn take() -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        let limit = if raised { hard } else { soft };
        let open = std::fs::read_dir("/proc/self/fd").map_or(SURELY_OPEN, |all| all.count() as u64);
        // A listener for each core, at most.
        let own = open + Handle::current().cores() as u64 + SPARE;
        Self { limit, free: limit.saturating_sub(own) }
    }
}

/// The clients of a server, and how many it may have.
pub struct Clients {
    program: &'static str,
    descriptors: Descriptors,
    /// Connections that each listener may have.
    of_each: usize,
    /// Clients that share one limit, and may be this many.
    most: u64,
    /// One count for all clients, or one for each core.
    connected: Vec<AtomicU64>,
    told: Seldom,
}

/// One client, until it is dropped.
pub struct Client {
    clients: Arc<Clients>,
    counted: usize,
}

impl Clients {
    /// At most `most` together, spread over the cores by `balance`.
    ///
    /// # Errors
    /// One line for stderr, if there is no room for any.
    pub fn new(
        program: &'static str,
        descriptors: Descriptors,
        most: u64,
        balance: Balance,
    ) -> Result<Arc<Self>, String> {
        let cores = Handle::current().cores();
        let listeners = if balance == Balance::LeastLoaded { 1 } else { cores };
        // Each core has a limit of its own, or all together have the limits of all.
        let limits = if balance == Balance::Kernel { cores } else { 1 };
        let of_each = usize::try_from(most).unwrap_or(usize::MAX) / listeners;
        if of_each == 0 {
            return Err(format!(
                "too few descriptors to serve clients on {}: the limit of open files is {}; start it under a \
                 higher one (`ulimit -n`)",
                if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") },
                descriptors.limit
            ));
        }
        let most = of_each as u64 * (listeners / limits) as u64;
        let connected = (0..limits).map(|_| AtomicU64::new(0)).collect();
        Ok(Arc::new(Self { program, descriptors, of_each, most, connected, told: Seldom::default() }))
    }

    /// How to listen: clients beyond what the descriptors allow wait in the kernel.
    pub fn listen_options(&self) -> ListenOptions {
        listen_options(self.program).max_connections(self.of_each)
    }

    /// One more, on the core that runs this. If it is the last for whom there is room, that is worth a line.
    pub fn enter(self: &Arc<Self>) -> Client {
        let counted = core::current().unwrap_or(0) % self.connected.len();
        let connected = self.connected[counted].fetch_add(1, Ordering::Relaxed) + 1;
        if connected >= self.most && self.told.is_due() {
            let limit = self.descriptors.limit;
            let place = if self.connected.len() == 1 { String::new() } else { format!(" on core {counted}") };
            complain(
                self.program,
                format_args!(
                    "{connected} clients{place}, all that {limit} descriptors allow: others wait until some \
                     leave; start it under a higher limit of open files (`ulimit -n`)"
                ),
            );
        }
        Client { clients: Arc::clone(self), counted }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clients.connected[self.counted].fetch_sub(1, Ordering::Relaxed);
    }
}
