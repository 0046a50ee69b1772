//! `#[ringwork::main]` on functions that are not `main`.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::rc::Rc;

#[ringwork::main(cores = 2, pin = "off")]
async fn sum((a, mut b): (u32, u32), words: Vec<String>) -> (Option<usize>, u32) {
    let local = Rc::new(Cell::new(a));
    let task = ringwork::spawn_local({
        let local = Rc::clone(&local);
        async move { local.set(local.get() + 1) }
    });
    task.await.unwrap();
    b += local.get() + words.iter().map(|word| word.len() as u32).sum::<u32>();
    (ringwork::core::current(), b)
}

#[test]
fn a_function_with_parameters_runs_on_core_0_and_gives_what_it_returns() {
    let words = vec!["ab".to_owned(), "c".to_owned()];
    assert_eq!(sum((10, 100), words), (Some(0), 114));
}

#[test]
fn called_by_a_task_it_panics_and_called_by_a_blocking_job_it_runs() {
    let runtime =
        ringwork::runtime::Builder::new().cores(1).pin(ringwork::runtime::Pin::Off).build().unwrap();
    let error = runtime.block_on(runtime.spawn(async { sum((1, 2), Vec::new()) })).unwrap_err();
    assert!(error.to_string().contains("spawn_blocking"), "{error}");
    let job = runtime.handle().spawn_blocking(|| sum((1, 2), Vec::new()));
    assert_eq!(runtime.block_on(job).unwrap(), (Some(0), 4));
}

#[test]
fn it_may_be_called_again_and_from_several_threads_at_once() {
    let calls: Vec<_> = (0..3).map(|n| std::thread::spawn(move || sum((n, n), Vec::new()).1)).collect();
    let sums: Vec<u32> = calls.into_iter().map(|call| call.join().unwrap()).collect();
    assert_eq!(sums, [1, 3, 5]);
}
