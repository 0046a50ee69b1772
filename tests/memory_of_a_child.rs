//! What a forked child drops of its parent's runtime takes no memory of the child's. The pools and the rings
//! are not inherited: what the child maps may come to lie where they were.

mod kit;

use kit::process::{CHILD_SECONDS, alone, exit_code_of, in_child};
use kit::{echo_server, runtime};
use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, PanicPolicy, Pin};
use std::cell::RefCell;
use std::fs;
use std::io;
use std::time::Duration;

/// A page of memory that this process has mapped where there was a hole.
struct Page(*mut u8);

impl Page {
    /// Around `address`, which a forked child has not inherited.
    fn of_our_own(address: usize) -> Self {
        let place = (address & !4095) as *mut libc::c_void;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a fresh anonymous mapping where there is none.
        let page = unsafe { libc::mmap(place, 4096, protection, flags, -1, 0) };
        assert_eq!(page, place, "{}", io::Error::last_os_error());
        Self(page.cast())
    }

    /// If somebody has unmapped the page, the process ends by a signal.
    fn write(&self) {
        // SAFETY: the page is ours, or the process ends here.
        unsafe { self.0.write_volatile(1) };
    }
}

#[test]
fn a_buffer_that_outlives_its_runtime_and_is_dropped_in_a_child_takes_none_of_its_memory() {
    alone(|| {
        let echo = echo_server();
        let runtime = runtime(1);
        let received = runtime.spawn(async move {
            let stream = TcpStream::connect(echo).await.unwrap();
            stream.send_all("hello").await.0.unwrap();
            stream.recv_pooled().await.unwrap()
        });
        let mut buffer = Some(runtime.block_on(received).unwrap());
        assert!(buffer.as_ref().unwrap().is_from_pool());
        assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
        let code = in_child(|| {
            let page = Page::of_our_own(buffer.as_ref().unwrap().as_ptr().addr());
            drop(buffer.take());
            page.write();
        });
        assert_eq!(code, 0);
        assert_eq!(&buffer.take().unwrap()[..], b"hello");
    });
}

/// Writes to its pages when a core's thread ends, after all that the core has had, and ends the process.
struct Last(Vec<Page>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.iter().for_each(Page::write);
        // SAFETY: leaves without running anything of the parent's.
        unsafe { libc::_exit(0) };
    }
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Where the rings of this process are mapped.
fn rings() -> Vec<usize> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let rings = maps.lines().filter(|line| line.ends_with("[io_uring]"));
    rings.map(|line| usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap()).collect()
}

#[test]
fn a_core_that_ends_in_a_child_takes_none_of_its_memory() {
    alone(|| {
        let builder = Builder::new().cores(1).pin(Pin::Off).on_task_panic(PanicPolicy::ShutDown);
        let runtime = builder.build().unwrap();
        let forked = runtime.spawn(async {
            let rings = rings();
            assert!(!rings.is_empty());
            // SAFETY: the test is alone in its process, and alarm or `Last` end the child.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: a system call without memory.
                unsafe { libc::alarm(CHILD_SECONDS) };
                LAST.set(Some(Last(rings.into_iter().map(Page::of_our_own).collect())));
                panic!("ends the core");
            }
            child
        });
        assert_eq!(exit_code_of(runtime.block_on(forked).unwrap()), 0);
    });
}
