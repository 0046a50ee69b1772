//! Nothing outside the root is ever served, by no path and no link, and nothing inside it makes the server
//! wait.

use crate::http::{Client, get};
use crate::programs::{self, PATIENCE, Server};
use crate::site::{SECRET, Site, serve};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

#[track_caller]
fn all_are(server: &Server, status: u16, targets: &[&str]) {
    for target in targets {
        let answer = get(server, target);
        assert_eq!(answer.status, status, "{target}");
        let leaks = answer.body.windows(SECRET.len()).any(|window| window == SECRET);
        assert!(!leaks, "{target} shows what is outside");
    }
}

#[test]
fn dots_do_not_climb_out_of_the_root() {
    let site = Site::new();
    site.folder("sub");
    let server = site.serve(&[]);
    let climbing = [
        "/../outside/secret",
        "/sub/../../outside/secret",
        "/%2e%2e/outside/secret",
        "/.%2E/outside/secret",
        "/sub/%2e%2e/%2e%2e/outside/secret",
        "/./../outside/secret",
        "//../outside/secret",
        "http://test/../outside/secret",
    ];
    all_are(&server, 400, &climbing);
    // Proper names, though nobody has them.
    let names = [
        "/..%2Foutside%2Fsecret",
        "/sub/..%2f..%2foutside%2fsecret",
        "/..%5coutside%5csecret",
        "/..\\outside\\secret",
        "/%252e%252e/outside/secret",
        "/.../outside/secret",
    ];
    all_are(&server, 404, &names);
    let absolute = site.outside().join("secret");
    let absolute = absolute.to_str().expect("the folder's name is text");
    let encoded = format!("/{}", absolute.replace('/', "%2F"));
    all_are(&server, 404, &[absolute, &format!("/{absolute}"), &encoded]);
}

#[test]
fn a_link_out_of_the_root_is_403() {
    let site = Site::new();
    site.folder("sub");
    site.link("absolute", site.outside().join("secret"));
    site.link("relative", "../outside/secret");
    site.link("sub/relative", "../../outside/secret");
    site.link("folder", "../outside");
    site.link("parent", "..");
    site.link("chain", "relative");
    site.link("top", "/");
    // The kernel does not let a path leave, not even to come back.
    site.write("file", "inside");
    site.link("around", site.path("file"));
    let server = site.serve(&[]);
    let targets = [
        "/absolute",
        "/relative",
        "/sub/relative",
        "/folder",
        "/folder/",
        "/folder/secret",
        "/parent/outside/secret",
        "/chain",
        "/top/",
        "/around",
    ];
    all_are(&server, 403, &targets);
}

#[test]
fn a_link_inside_the_root_is_followed() {
    let site = Site::new();
    site.write("file", "inside");
    site.write("sub/deep/file", "below");
    site.link("link", "file");
    site.link("sub/up", "../file");
    site.link("folder", "sub/deep");
    site.link("loop", "loop");
    site.link("dangling", "nowhere");
    let server = site.serve(&[]);
    for (target, body) in [("/link", "inside"), ("/sub/up", "inside"), ("/folder/file", "below")] {
        let answer = get(&server, target);
        assert_eq!((answer.status, answer.text()), (200, body), "{target}");
    }
    all_are(&server, 404, &["/loop", "/loop/x", "/dangling"]);
}

#[test]
fn a_link_that_turns_outwards_between_two_looks_leaks_nothing() {
    let site = Site::new();
    site.write("folder/secret", "inside");
    site.link("way", "folder");
    let server = site.serve(&["--cache", "0"]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| turn(&site, &done));
        // However the test ends, the link stops turning.
        let _end = OnDrop(|| done.store(true, Ordering::Relaxed));
        let mut client = Client::connect(&server);
        let (mut inside, mut refused) = (0, 0);
        let until = Instant::now() + PATIENCE;
        // Both must have been seen, or nothing was tried.
        while inside < 100 || refused < 100 {
            assert!(Instant::now() < until, "{inside} times inside, {refused} times refused");
            let answer = client.get("/way/secret");
            match (answer.status, &answer.body[..]) {
                (200, b"inside") => inside += 1,
                (403, _) => refused += 1,
                // The kernel saw it turn and says so.
                (503, _) => {}
                (status, _) => panic!("{status} {:?}", answer.text()),
            }
        }
    });
}

/// Replaces the link again and again: it leads out, then in.
fn turn(site: &Site, done: &AtomicBool) {
    let fresh = site.path("fresh");
    for target in ["../outside", "folder"].iter().cycle() {
        symlink(target, &fresh).expect("a link can be made");
        fs::rename(&fresh, site.path("way")).expect("a link can be replaced");
        if done.load(Ordering::Relaxed) {
            break;
        }
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_link_of_the_kernel_leads_nowhere() {
    let server = serve(Path::new("/proc"), &[]);
    for target in ["/self/root/etc/passwd", "/self/cwd/", "/self/fd/0", "/self/exe", "/thread-self/root/"] {
        let answer = get(&server, target);
        assert!(matches!(answer.status, 403 | 404), "{target}: {}", answer.status);
    }
}

#[test]
fn a_pipe_or_socket_is_403_at_once() {
    let site = Site::new();
    site.write("file", "inside");
    site.special("pipe", libc::S_IFIFO);
    site.special("socket", libc::S_IFSOCK);
    site.link("link", "pipe");
    site.folder("sub");
    site.special("sub/index.html", libc::S_IFIFO);
    // A server that waited for somebody to write would answer none of them.
    let server = site.serve(&["--cores", "1"]);
    all_are(&server, 403, &["/pipe", "/socket", "/link", "/sub/", "/sub/index.html"]);
    all_are(&server, 404, &["/pipe/", "/pipe/x"]);
    all_are(&server, 200, &["/file"]);
}

#[test]
fn a_device_is_403_at_once() {
    let server = serve(Path::new("/dev"), &["--cores", "1"]);
    all_are(&server, 403, &["/null", "/zero", "/random", "/tty"]);
    all_are(&server, 404, &["/null/", "/zero/x"]);
}

#[test]
fn what_the_server_may_not_read_is_403() {
    let site = Site::new();
    site.write("file", "inside");
    site.folder("folder");
    let lock = |mode: u32| {
        for name in ["file", "folder"] {
            fs::set_permissions(site.path(name), Permissions::from_mode(mode)).expect("it is ours");
        }
    };
    lock(0);
    let mut command = programs::command("file_server");
    command.arg("--root").arg(site.root()).args(["--listen", "127.0.0.1:0"]);
    // SAFETY: between fork and exec it makes two system calls, which take numbers, and nothing else.
    unsafe {
        command.pre_exec(|| {
            // Root reads whatever there is, unless it lacks these. Others cannot drop them and need not.
            for capability in [CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH] {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            Ok(())
        });
    }
    let server = Server::start(command);
    let statuses = ["/file", "/folder/", "/folder", "/folder/x"].map(|target| get(&server, target).status);
    // So that it can be removed.
    lock(0o700);
    assert_eq!(statuses, [403; 4]);
}

/// The numbers of `linux/capability.h`.
const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;
