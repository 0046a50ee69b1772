//! Which of several listeners that share a port gets a connection, if each says on which CPU it would like to
//! be called. It promises to count connections. It measures no speed.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;

use kernel_notes::{Outcome, Report, code, cpus_allowed, pin, set_option};

/// Connections of one look.
const CONNECTIONS: usize = 64;

/// A listener on the port of the loopback device that others may share; port 0 picks one.
fn listen(port: u16, cpu: Option<usize>) -> io::Result<TcpListener> {
    // SAFETY: makes a descriptor, no pointers.
    let socket = match unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) } {
        -1 => return Err(io::Error::last_os_error()),
        // SAFETY: the descriptor was made above and nobody else owns it.
        fd => unsafe { OwnedFd::from_raw_fd(fd) },
    };
    set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1i32)?;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let listener = TcpListener::from(socket);
    let (fd, len) = (listener.as_raw_fd(), size_of_val(&address) as u32);
    // SAFETY: the address is live and of the length given; the calls copy it.
    let bound =
        unsafe { libc::bind(fd, (&raw const address).cast(), len) == 0 && libc::listen(fd, 128) == 0 };
    if !bound {
        return Err(io::Error::last_os_error());
    }
    if let Some(cpu) = cpu {
        set_option(&listener, libc::SOL_SOCKET, libc::SO_INCOMING_CPU, cpu as i32)?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects from one CPU, and says how many each of the listeners got.
fn spread(listeners: &[TcpListener], cpu: usize) -> io::Result<Vec<usize>> {
    let address: SocketAddr = listeners[0].local_addr()?;
    let connect = move || -> io::Result<Vec<TcpStream>> {
        pin(0, cpu)?;
        (0..CONNECTIONS).map(|_| TcpStream::connect(address)).collect()
    };
    let _clients = thread::spawn(connect).join().expect("it returns errors")?;
    Ok(listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count()).collect())
}

fn main() -> Outcome {
    let mut report = Report::new();
    let [one, other, ..] = cpus_allowed()[..] else {
        return Ok(report.skip("one CPU: all comes in on it"));
    };
    let first = listen(0, None)?;
    let hashed = [listen(first.local_addr()?.port(), None)?, first];
    report.saw(format_args!("no wish: {:?} of {CONNECTIONS} from one CPU", spread(&hashed, one)?));
    let first = listen(0, Some(one))?;
    let near = [listen(first.local_addr()?.port(), Some(other))?, first];
    if !report.kernel_is_at_least(6, 2) {
        return Ok(report.skip("SO_INCOMING_CPU of listeners that share a port: since Linux 6.2"));
    }
    report
        .holds("each wishes its CPU, from the one: all to that one", spread(&near, one)? == [0, CONNECTIONS]);
    report.holds("from the other: all to the other", spread(&near, other)? == [CONNECTIONS, 0]);
    let first = listen(0, Some(one))?;
    let half = [listen(first.local_addr()?.port(), None)?, first];
    let from_other = spread(&half, other)?;
    report.saw(format_args!("one wishes {one}, the other nothing, from CPU {other}: {from_other:?}"));
    let all_served = from_other.iter().sum::<usize>() == CONNECTIONS;
    report.holds("nobody wishes that CPU: somebody gets it all the same", all_served);
    match listen(0, Some(100_000)) {
        Ok(_) => report.saw("a CPU that is not there is taken without a word"),
        Err(error) => report.saw(format_args!("a CPU that is not there: error {}", code(&error))),
    }
    Ok(report.finish())
}
