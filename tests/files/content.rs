//! What is written is what is read, at any offset, in any number at once.

use crate::kit::Folder;
use crate::kit::{bounded, runtime};
use crate::pattern;
use ringwork::buf::{AlignedBuf, IoBufMut};
use ringwork::fs::{self, File, OpenOptions};
use ringwork::time::Duration;
use std::cell::Cell;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;

/// Runs `body` on a core, with a folder of its own.
fn on_a_core<F>(body: impl FnOnce(Folder) -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    bounded(|| {
        let runtime = runtime(2);
        let folder = Folder::new();
        runtime.block_on(runtime.handle().spawn_on(0, move || body(folder))).unwrap();
    });
}

#[test]
fn a_whole_file_is_written_and_read() {
    on_a_core(|folder| async move {
        for len in [0, 1, 4_095, 4_096, 4_097, 1 << 20, 5_000_001] {
            let path = folder.join("whole");
            fs::write(&path, pattern(len)).await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), pattern(len));
            assert!(fs::read(&path).await.unwrap() == pattern(len), "{len} bytes");
        }
    });
}

#[test]
fn other_tasks_run_while_a_long_file_is_read() {
    on_a_core(|folder| async move {
        const LEN: usize = 8 << 20;
        let path = folder.file("long", pattern(LEN));
        let (turns, is_read) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let other = ringwork::spawn_local({
            let (turns, is_read) = (Rc::clone(&turns), Rc::clone(&is_read));
            async move {
                while !is_read.get() {
                    turns.set(turns.get() + 1);
                    ringwork::task::yield_now().await;
                }
            }
        });
        assert!(fs::read(&path).await.unwrap() == pattern(LEN));
        assert!(turns.get() >= 16, "{} turns in {LEN} bytes", turns.get());
        let before = turns.get();
        let file = File::open(&path).await.unwrap();
        let (read, bytes) = file.read_exact_at(vec![0; LEN].slice_mut(0..LEN), 0).await;
        read.unwrap();
        assert!(bytes.into_inner() == pattern(LEN));
        assert!(turns.get() >= before + 16, "{} turns in {LEN} bytes", turns.get() - before);
        is_read.set(true);
        other.await.unwrap();
    });
}

#[test]
fn writing_a_whole_file_empties_it_first() {
    on_a_core(|folder| async move {
        let path = folder.file("old", "a long old content");
        fs::write(&path, "new").await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"new");
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "new");
        fs::write(&path, vec![0xff]).await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    });
}

#[test]
fn a_file_that_does_not_say_how_long_it_is_is_read_to_its_end() {
    on_a_core(|_| async move {
        for path in ["/proc/self/status", "/proc/cpuinfo", "/proc/self/maps"] {
            let text = String::from_utf8(fs::read(path).await.unwrap()).unwrap();
            assert!(text.lines().count() > 3, "{path}: {text}");
        }
        assert_eq!(fs::read("/dev/null").await.unwrap(), b"");
        assert_eq!(fs::read_to_string("/dev/null").await.unwrap(), "");
    });
}

/// The kernel gives such a value from its beginning in one read; a read of what is left finds nothing.
#[test]
fn settings_of_the_kernel_are_read_whole() {
    on_a_core(|_| async move {
        let mut there = 0;
        for name in [
            "kernel/pid_max",
            "net/core/somaxconn",
            "fs/file-max",
            "vm/swappiness",
            "net/ipv4/ip_local_port_range",
            "kernel/hostname",
        ] {
            let path = format!("/proc/sys/{name}");
            // A container need not have them all.
            let Ok(expected) = std::fs::read(&path) else { continue };
            there += 1;
            assert_eq!(fs::read(&path).await.unwrap(), expected, "{path}");
            assert_eq!(fs::read_to_string(&path).await.unwrap().into_bytes(), expected, "{path}");
        }
        assert!(there > 0, "no settings in /proc/sys");
    });
}

#[test]
fn a_file_that_was_read_whole_takes_no_more_memory_than_it_has_bytes() {
    on_a_core(|folder| async move {
        for len in [0, 5, 100_000] {
            let bytes = fs::read(folder.file("real", pattern(len))).await.unwrap();
            // One more is asked for, to see the end.
            assert!(bytes.capacity() <= len + 1, "{} for {len}", bytes.capacity());
        }
        let bytes = fs::read("/proc/sys/kernel/pid_max").await.unwrap();
        assert!(bytes.capacity() <= 64, "{} for {}", bytes.capacity(), bytes.len());
    });
}

#[test]
fn a_read_takes_what_is_there_and_appends_to_the_buffer() {
    on_a_core(|folder| async move {
        let file = File::open(folder.file("ten", "0123456789")).await.unwrap();
        let (read, buf) = file.read_at(Vec::with_capacity(4), 3).await;
        assert_eq!((read.unwrap(), &buf[..]), (4, &b"3456"[..]));
        let mut buf = buf;
        buf.reserve_exact(100);
        let (read, buf) = file.read_at(buf, 7).await;
        assert_eq!((read.unwrap(), &buf[..]), (3, &b"3456789"[..]));
        let (read, _) = file.read_at(Vec::with_capacity(8), 10).await;
        assert_eq!(read.unwrap(), 0, "the end");
        let (read, _) = file.read_at(Vec::with_capacity(8), 1 << 40).await;
        assert_eq!(read.unwrap(), 0, "far behind the end");
        let (read, _) = file.read_at(Vec::new(), 0).await;
        assert_eq!(read.unwrap(), 0, "nothing is wanted");
        let (read, buf) = file.read_at(vec![7; 4], 0).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::InvalidInput, "full already");
        assert_eq!(buf, [7; 4]);
        let (read, array) = file.read_at([0; 4], 6).await;
        assert_eq!((read.unwrap(), &array), (4, b"6789"));
    });
}

#[test]
fn an_exact_read_fills_the_buffer_or_says_that_the_file_ended() {
    on_a_core(|folder| async move {
        let bytes = pattern(3 << 20);
        let file = File::open(folder.file("exact", &bytes)).await.unwrap();
        let (read, buf) = file.read_exact_at(Vec::with_capacity(2 << 20), 12_345).await;
        read.unwrap();
        assert!(buf == bytes[12_345..12_345 + (2 << 20)]);
        let at = bytes.len() as u64 - 5;
        let (read, buf) = file.read_exact_at(Vec::with_capacity(10), at).await;
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        assert_eq!(buf, bytes[bytes.len() - 5..]);
        file.read_exact_at(Vec::new(), 0).await.0.unwrap();
        let full = file.read_exact_at(vec![0; 8], 0).await.0.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn bytes_behind_the_first_four_gigabytes_are_read_from_where_they_are() {
    on_a_core(|folder| async move {
        let path = folder.file("far", "at the beginning");
        let at = (5 << 32) + 3;
        File::options().write(true).open(&path).await.unwrap().write_all_at("far away", at).await.0.unwrap();
        let file = File::open(&path).await.unwrap();
        for cached in [true, false] {
            file.cached_reads(cached);
            let (read, bytes) = file.read_at(Vec::with_capacity(100), at).await;
            assert_eq!((read.unwrap(), &bytes[..]), (8, &b"far away"[..]));
        }
    });
}

#[test]
fn writes_go_where_they_are_told_and_leave_holes() {
    on_a_core(|folder| async move {
        let path = folder.join("holes");
        let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await.unwrap();
        file.write_all_at("end", 10_000).await.0.unwrap();
        file.write_all_at("begin", 0).await.0.unwrap();
        file.write_all_at("", 77).await.0.unwrap();
        let (written, buf) = file.write_at("middle", 5_000).await;
        assert_eq!((written.unwrap(), buf), (6, "middle"));
        let mut expected = vec![0; 10_003];
        expected[..5].copy_from_slice(b"begin");
        expected[5_000..5_006].copy_from_slice(b"middle");
        expected[10_000..].copy_from_slice(b"end");
        assert!(fs::read(&path).await.unwrap() == expected);
        let (read, buf) = file.read_exact_at(Vec::with_capacity(3), 10_000).await;
        read.unwrap();
        assert_eq!(buf, b"end");
    });
}

#[test]
fn slices_of_buffers_are_read_into_and_written_from() {
    use ringwork::buf::{IoBuf, IoBufMut};
    on_a_core(|folder| async move {
        let path = folder.join("slices");
        let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await.unwrap();
        let (written, slice) = file.write_all_at(b"0123456789".to_vec().slice(2..5), 0).await;
        written.unwrap();
        assert_eq!(slice.into_inner(), b"0123456789");
        let (read, slice) = file.read_at(vec![b'-'; 8].slice_mut(2..5), 0).await;
        assert_eq!((read.unwrap(), &slice.into_inner()[..]), (3, &b"--234---"[..]));
    });
}

#[test]
fn a_hundred_reads_and_writes_of_one_file_at_once() {
    bounded(|| {
        let runtime = runtime(2);
        let folder = Folder::new();
        let path = folder.file("busy", vec![0; 100 * 4_096]);
        let options = OpenOptions::new().read(true).write(true);
        let file = runtime.block_on(options.open(&path)).unwrap();
        let tasks: Vec<_> = (0..100_u64)
            .map(|n| {
                let file = file.clone();
                runtime.handle().spawn_on(n as usize % 2, move || async move {
                    let block = vec![n as u8; 4_096];
                    file.write_all_at(block.clone(), n * 4_096).await.0.unwrap();
                    let (read, buf) = file.read_exact_at(Vec::with_capacity(4_096), n * 4_096).await;
                    read.unwrap();
                    assert!(buf == block);
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.chunks(4_096).enumerate().all(|(n, block)| block == [n as u8; 4_096]));
    });
}

#[test]
fn appending_goes_to_the_end_whatever_the_offset() {
    on_a_core(|folder| async move {
        let path = folder.file("log", "one ");
        let file = OpenOptions::new().append(true).open(&path).await.unwrap();
        file.write_all_at("two ", 0).await.0.unwrap();
        file.write_all_at("three", 1).await.0.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"one two three");
    });
}

#[test]
fn aligned_buffers_pass_by_the_page_cache() {
    on_a_core(|folder| async move {
        let bytes = pattern(65_536);
        let path = folder.file("direct", &bytes);
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT);
        // Not every file system has it.
        let Ok(file) = direct.open(&path).await else { return };
        let (read, buf) = file.read_at(AlignedBuf::new(16_384, 4_096), 8_192).await;
        assert_eq!(read.unwrap(), 16_384);
        assert!(buf[..] == bytes[8_192..8_192 + 16_384]);
    });
}

#[test]
fn sync_allocate_and_set_len_do_what_std_does() {
    on_a_core(|folder| async move {
        let path = folder.join("sized");
        let file = File::create(&path).await.unwrap();
        file.write_all_at("0123456789", 0).await.0.unwrap();
        file.sync_data().await.unwrap();
        file.set_len(4).await.unwrap();
        file.sync_all().await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"0123");
        file.set_len(6).await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"0123\0\0");
        match file.allocate(0, 1 << 20).await {
            Ok(()) => assert_eq!(file.metadata().await.unwrap().len(), 1 << 20),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}"),
        }
        assert_eq!(&fs::read(&path).await.unwrap()[..6], b"0123\0\0");
    });
}

#[test]
fn metadata_is_what_std_sees() {
    on_a_core(|folder| async move {
        let path = folder.file("seen", pattern(777));
        std::os::unix::fs::symlink(&path, folder.join("link")).unwrap();
        for path in [path.clone(), folder.path().to_owned(), folder.join("link"), "/dev/null".into()] {
            let (ours, theirs) = (fs::metadata(&path).await.unwrap(), std::fs::metadata(&path).unwrap());
            assert_eq!((ours.is_file(), ours.is_dir()), (theirs.is_file(), theirs.is_dir()));
            assert_eq!((ours.len(), ours.mode(), ours.ino()), (theirs.len(), theirs.mode(), theirs.ino()));
            assert_eq!(ours.dev(), theirs.dev(), "{path:?}");
            assert_eq!(ours.modified().unwrap(), theirs.modified().unwrap());
        }
        let file = File::open(&path).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().ino(), fs::metadata(&path).await.unwrap().ino());
    });
}

#[test]
fn a_std_file_is_taken_over_and_its_descriptor_lent() {
    on_a_core(|folder| async move {
        let path = folder.file("std", "from std");
        let file = File::from_std(std::fs::File::open(&path).unwrap());
        let (read, buf) = file.read_at(Vec::with_capacity(20), 0).await;
        assert_eq!((read.unwrap(), &buf[..]), (8, &b"from std"[..]));
        assert!(file.as_raw_fd() > 2);
        let clone = file.clone();
        drop(file);
        assert_eq!(clone.read_at([0; 4], 5).await.0.unwrap(), 3);
        let lent: &std::os::fd::BorrowedFd<'_> = &std::os::fd::AsFd::as_fd(&clone);
        let mut byte = [0];
        std::fs::File::from(lent.try_clone_to_owned().unwrap()).read_exact_at(&mut byte, 5).unwrap();
        assert_eq!(&byte, b"s");
    });
}

#[test]
fn a_read_that_waits_is_stopped_and_gives_its_buffer_back() {
    on_a_core(|folder| async move {
        let path = folder.join("fifo");
        crate::kit::process::make_fifo(&path);
        // Both ends, so that neither the open nor the read ends by itself.
        let file = OpenOptions::new().read(true).write(true).open(&path).await.unwrap();
        let slow = file.read_at(Vec::with_capacity(64), 0).timeout(Duration::from_millis(10));
        let (read, buf) = slow.await;
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(buf.capacity(), 64);
        let mut waiting = file.read_at(Vec::with_capacity(32), 0);
        assert!(crate::kit::poll_once(&mut waiting).await.is_pending());
        let (read, buf) = waiting.cancel().await;
        assert_eq!(read.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(buf.capacity(), 32);
        let (read, _) = file.read_at(Vec::with_capacity(8), 0).cancel().await;
        assert_eq!(read.unwrap_err().raw_os_error(), Some(libc::ECANCELED), "never begun");
        file.write_all_at("now", 0).await.0.unwrap();
        let (read, buf) = file.read_at(Vec::with_capacity(8), 0).await;
        assert_eq!((read.unwrap(), &buf[..]), (3, &b"now"[..]));
    });
}

#[test]
fn a_read_on_the_spot_ends_where_the_file_ends_and_reads_what_the_ring_reads() {
    on_a_core(|folder| async move {
        let path = folder.file("spot", pattern(10_000));
        let file = File::open(&path).await.unwrap();
        for (offset, room) in
            [(0, 100), (9_990, 10), (9_990, 100), (4_000, 64 * 1024), (10_000, 8), (20_000, 8)]
        {
            let mut answers = Vec::new();
            for cached in [true, false] {
                file.cached_reads(cached);
                // Behind what the buffer holds.
                let mut buf = Vec::with_capacity(3 + room);
                buf.extend_from_slice(b"old");
                let (n, buf) = file.read_at(buf, offset as u64).await;
                answers.push((n.unwrap(), buf));
            }
            assert_eq!(answers[0], answers[1], "{room} bytes at {offset}");
            let expected = room.min(10_000_usize.saturating_sub(offset));
            assert_eq!((answers[0].0, answers[0].1.len()), (expected, 3 + expected));
        }
    });
}

#[test]
fn a_file_opened_past_the_page_cache_is_read_by_ops() {
    on_a_core(|folder| async move {
        let path = folder.file("direct", vec![7; 8_192]);
        let reads = || ringwork::runtime::Handle::current().metrics().cores[0].cached_reads;
        let before = reads();
        let Ok(direct) = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path).await else {
            // Not every file system knows it.
            return;
        };
        let std = std::os::fd::AsFd::as_fd(&direct).try_clone_to_owned().unwrap();
        for file in [direct, File::from_std(std.into())] {
            let (read, buf) = file.read_at(AlignedBuf::new(4_096, 4_096), 4_096).await;
            assert_eq!((read.unwrap(), &buf[..4]), (4_096, &[7; 4][..]));
        }
        assert_eq!(reads(), before);
    });
}
