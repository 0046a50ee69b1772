//! What the program says when it cannot start, and with which code it ends.

use crate::programs;
use crate::site::Site;
use std::net::TcpListener;
use std::path::Path;

/// It ends with `code` and one line on stderr, which has `words`.
#[track_caller]
fn refuses(code: i32, args: &[&str], words: &str) {
    let mut command = programs::command("file_server");
    // The root is the folder it starts in, unless the arguments say otherwise.
    command.args(args).current_dir(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let output = programs::outcome(command);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert_eq!((stdout.as_ref(), stderr.lines().count()), ("", 1), "{args:?}: {stderr}");
    assert!(stderr.contains(words), "{args:?}: {words} is not in {stderr}");
}

#[test]
fn a_port_in_use_is_one_line_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    refuses(1, &["--listen", &address], &address);
    // Also one that another server shares among its cores.
    let server = Site::new().serve(&[]);
    let address = server.address().to_string();
    refuses(1, &["--listen", &address], &address);
}

#[test]
fn a_root_that_is_no_folder_is_one_line_and_exit_1() {
    let site = Site::new();
    site.write("file", "");
    let listen = ["--listen", "127.0.0.1:0"];
    for name in ["missing", "file"] {
        let root = site.path(name);
        let root = root.to_str().expect("the folder's name is text");
        refuses(1, &[&listen[..], &["--root", root]].concat(), root);
    }
}

#[test]
fn wrong_arguments_are_one_line_and_exit_2() {
    refuses(2, &["--no-such-option"], "--no-such-option");
    refuses(2, &["extra"], "extra");
    refuses(2, &["--listen", "nowhere"], "--listen");
    refuses(2, &["--listen"], "--listen");
    refuses(2, &["--cores", "0"], "--cores");
    refuses(2, &["--cores", "many"], "--cores");
    refuses(2, &["--cache", "-1"], "--cache");
    refuses(2, &["--root"], "--root");
}

#[test]
fn help_is_on_stdout_and_exit_0() {
    let mut command = programs::command("file_server");
    command.arg("--help");
    let output = programs::outcome(command);
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).expect("help is text");
    for option in ["--root", "--listen", "--cores", "--cache"] {
        assert!(text.contains(option), "{option} is not explained");
    }
}
