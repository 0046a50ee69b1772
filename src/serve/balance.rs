//! Which core a fresh connection goes to.
//!
//! Owns [`Balance`] and the choice by load, which is pure: loads and the turn come as arguments. It counts
//! nothing itself (`state.rs` does).
#![forbid(unsafe_code)]

/// How connections are spread over the cores.
///
/// ```
/// use ringwork::{Balance, Serve};
/// # #[ringwork::main(cores = 2)]
/// # async fn main() -> std::io::Result<()> {
/// let serve = Serve::new("127.0.0.1:0".parse().unwrap()).balance(Balance::LeastLoaded);
/// let server = serve.start(|stream, _peer| async move { drop(stream.recv_pooled().await) }).await?;
/// let mut clients = Vec::new();
/// for _ in 0..4 {
///     clients.push(ringwork::net::TcpStream::connect(server.local_addr()).await?);
/// }
/// # while server.connections() < 4 {
/// #     ringwork::task::yield_now().await;
/// # }
/// assert_eq!(server.connections_per_core(), [2, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// A listener on every core; the kernel picks that of the core on whose CPU the connection's packets
    /// arrive (`SO_INCOMING_CPU`, `socket(7)`, Linux 6.2; kernel-notes/incoming-cpu.md), else as under
    /// [`Kernel`](Self::Kernel). Packets are then received, served and answered on one CPU. If far more of
    /// the last few thousand connections came to one core than to others (half above the mean, and more than
    /// chance explains), it passes fresh ones on while it has as many as others, as under
    /// [`LeastLoaded`](Self::LeastLoaded): so all cores serve, also if all comes in on one CPU, as with a
    /// network card that has one queue. Of such connections the first one keeps 14 with two cores, and 3 with
    /// sixteen.
    ///
    /// Where cores are not pinned, the kernel picks as under `Kernel`.
    #[default]
    Nearest,
    /// A listener on every core; the kernel picks one by a hash of the connection's addresses. Nothing
    /// is handed over, but the spread is only even for many connections, and connections that end do not
    /// change it.
    Kernel,
    /// One listener, on core 0, whose fresh connections go to the core that has the fewest connections of
    /// this server; among equals to the one with the fewest tasks waiting to run, among those in turn. A core
    /// that is stuck in a poll gets none. For few or long connections. Each costs one hop between cores.
    LeastLoaded,
}

/// Whether connections come to a core far more often than to others: `own` of `total`, on so many cores.
///
/// To be served where packets arrive is worth some unevenness, so half above the mean is no reason. What
/// comes to one of many by chance differs from the mean by its square root, as a rule, and twice that is
/// rare.
pub(super) fn comes_in_one_sided(own: usize, total: usize, cores: usize) -> bool {
    let mean = total as f64 / cores as f64;
    own as f64 > (1.5 * mean).max(mean + 2.0 * mean.sqrt()) + 2.0
}

/// The same, also if one core's were all seen before any of another's, as those of a burst may be.
pub(super) fn is_surely_one_sided(own: usize, total: usize, cores: usize) -> bool {
    own > BURST && comes_in_one_sided(own - BURST, total - BURST, cores)
}

/// Connections that one core may accept before others have begun to.
const BURST: usize = 64;

/// How much a core has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load {
    // The order of the fields is the order in which they count.
    /// The core is stuck in a poll, or its handler is gone.
    pub(super) unfit: bool,
    /// Connections of the server that were placed there and live.
    pub(super) connections: usize,
    /// Tasks that wait for their turn.
    pub(super) queued: u64,
}

/// The core with the least load; among equals the first from `turn` on, cyclically.
pub(super) fn least_loaded(cores: usize, turn: usize, load: impl Fn(usize) -> Load) -> usize {
    let from_turn = (0..cores).map(|step| (turn % cores + step) % cores);
    from_turn.min_by_key(|&core| load(core)).expect("a runtime has at least one core")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(turn: usize, loads: &[(usize, u64, bool)]) -> usize {
        least_loaded(loads.len(), turn, |core| {
            let (connections, queued, unfit) = loads[core];
            Load { unfit, connections, queued }
        })
    }

    #[test]
    fn what_comes_in_on_one_cpu_is_kept_for_a_while_and_what_comes_in_on_all_for_ever() {
        for (cores, kept) in [(1, 10_000), (2, 14), (4, 5), (16, 3)] {
            let kept_if = |one_sided: fn(usize, usize, usize) -> bool| {
                let first = (1..=10_000).find(|&all| one_sided(all, all, cores));
                first.map_or(10_000, |first| first - 1)
            };
            assert_eq!(kept_if(comes_in_one_sided), kept, "{cores} cores");
            let kept = if cores == 1 { kept } else { kept + BURST };
            assert_eq!(kept_if(is_surely_one_sided), kept, "{cores} cores");
        }
        assert!(!comes_in_one_sided(740, 1_000, 2));
        assert!(comes_in_one_sided(760, 1_000, 2));
    }

    #[test]
    fn chance_alone_is_seldom_taken_for_one_side() {
        // A core of four to which each of 40 connections comes by chance gets 19 or more once in 590 times.
        assert!(!comes_in_one_sided(17, 40, 4));
        assert!(comes_in_one_sided(19, 40, 4));
        assert!(!comes_in_one_sided(3, 3, 16));
    }

    #[test]
    fn the_fewest_connections_come_first_then_the_shortest_queue() {
        assert_eq!(pick(0, &[(3, 0, false), (2, 9, false), (4, 0, false)]), 1);
        assert_eq!(pick(0, &[(2, 5, false), (2, 1, false), (2, 3, false)]), 1);
    }

    #[test]
    fn equals_take_turns() {
        let equal = [(1, 0, false); 3];
        let picked: Vec<usize> = (0..6).map(|turn| pick(turn, &equal)).collect();
        assert_eq!(picked, [0, 1, 2, 0, 1, 2]);
        assert_eq!(pick(usize::MAX, &equal), usize::MAX % 3);
    }

    #[test]
    fn an_unfit_core_is_left_out_as_long_as_another_is_fit() {
        assert_eq!(pick(0, &[(0, 0, true), (7, 7, false)]), 1);
        assert_eq!(pick(0, &[(9, 0, true), (7, 7, true)]), 1);
    }
}
