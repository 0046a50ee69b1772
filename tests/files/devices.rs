//! Devices whose reads take what they give.

use crate::kit::process::alone;
use crate::kit::{bounded, runtime};
use ringwork::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const NAME: &str = "ringwork0";
const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: &str = "192.0.2.2:9";
/// What is in front of a datagram: the heads of IPv4 and of UDP.
const HEADS: usize = 20 + 8;

/// Asks the kernel for something about the device `NAME`.
fn request(fd: &impl AsRawFd, number: libc::Ioctl, set: impl FnOnce(&mut libc::ifreq)) -> io::Result<()> {
    // SAFETY: an all-zero `ifreq` is a valid value.
    let mut about: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in about.ifr_name.iter_mut().zip(NAME.bytes()) {
        *to = from as libc::c_char;
    }
    set(&mut about);
    // SAFETY: the structure is the one that these requests take, and lives throughout.
    match unsafe { libc::ioctl(fd.as_raw_fd(), number, &raw mut about) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// An IPv4 address as such requests take it.
fn plain(address: [u8; 4]) -> libc::sockaddr {
    let mut plain = libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: [0; 14] };
    // The port comes first.
    for (to, from) in plain.sa_data[2..].iter_mut().zip(address) {
        *to = from as libc::c_char;
    }
    plain
}

/// A network device whose packets are read from a file, in a network of its own that only this thread sees.
fn tunnel() -> io::Result<std::fs::File> {
    // SAFETY: a system call without memory.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let tunnel = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let kind = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    request(&tunnel, libc::TUNSETIFF, |about| about.ifr_ifru.ifru_flags = kind)?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let to = |address| move |about: &mut libc::ifreq| about.ifr_ifru.ifru_addr = plain(address);
    request(&socket, libc::SIOCSIFADDR, to(HERE))?;
    request(&socket, libc::SIOCSIFNETMASK, to([255, 255, 255, 0]))?;
    let up = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    request(&socket, libc::SIOCSIFFLAGS, |about| about.ifr_ifru.ifru_flags = up)?;
    Ok(tunnel)
}

/// Each read takes a packet off the device for good: one more after it would take the next one, or find
/// none.
#[test]
fn each_read_of_a_tunnel_is_one_packet_and_none_is_lost() {
    alone(|| {
        bounded(|| {
            let tunnel = match tunnel() {
                Ok(tunnel) => tunnel,
                Err(error) => return println!("skipped: no tunnel for this user: {error}"),
            };
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let send =
                move |text: &str| assert_eq!(socket.send_to(text.as_bytes(), THERE).unwrap(), text.len());
            let runtime = runtime(1);
            let reading = runtime.handle().spawn_on(0, move || async move {
                let file = File::from_std(tunnel);
                send("alone");
                assert_eq!(next(&file).await, b"alone");
                // Both are there before the first is read.
                send("first of two");
                send("second");
                assert_eq!(next(&file).await, b"first of two");
                assert_eq!(next(&file).await, b"second");
            });
            runtime.block_on(reading).unwrap();
        });
    });
}

/// The next datagram; the kernel sends packets of IPv6 on its own.
async fn next(file: &File) -> Vec<u8> {
    loop {
        let (read, packet) = file.read_at(Vec::with_capacity(2048), 0).await;
        assert_eq!(read.unwrap(), packet.len());
        if packet[0] >> 4 == 4 {
            return packet[HEADS..].to_vec();
        }
    }
}
