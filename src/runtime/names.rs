//! What the threads of a runtime are called.
#![forbid(unsafe_code)]

/// Bytes of a thread's name that the kernel keeps (`PR_SET_NAME`, prctl(2)).
const KEPT: usize = 15;

/// `name` and what the thread is, cut so that the kernel keeps the latter: by it `top -H` and `perf` tell the
/// threads of a runtime apart.
pub(crate) fn thread_name(name: &str, role: &str) -> String {
    let room = KEPT.saturating_sub(role.len());
    let end = (0..=room.min(name.len())).rev().find(|&end| name.is_char_boundary(end));
    format!("{}{role}", &name[..end.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::thread_name;

    #[test]
    fn the_number_of_a_core_is_kept_whatever_the_runtime_is_called() {
        assert_eq!(thread_name("ringwork", "-core-0"), "ringwork-core-0");
        assert_eq!(thread_name("ringwork", "-core-10"), "ringwor-core-10");
        assert_eq!(thread_name("my-long-service", "-core-127"), "my-lon-core-127");
        assert_eq!(thread_name("größer", "-core-127890"), "gr-core-127890");
        assert_eq!(thread_name("", "-core-1"), "-core-1");
    }
}
