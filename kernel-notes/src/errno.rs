//! Names of the error numbers that the experiments meet. It is not a full table: an unknown number is
//! printed as such.

/// The symbolic name of a positive error number.
pub fn name(errno: i32) -> String {
    let known = match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::EXDEV => "EXDEV",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::EPIPE => "EPIPE",
        libc::ELOOP => "ELOOP",
        libc::ETIME => "ETIME",
        libc::EBADFD => "EBADFD",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::ENOBUFS => "ENOBUFS",
        libc::ECONNRESET => "ECONNRESET",
        libc::EALREADY => "EALREADY",
        libc::ECANCELED => "ECANCELED",
        // The kernel's own, meant to be turned into EINTR before anyone sees it. Some ops let it through.
        512 => "ERESTARTSYS (512)",
        _ => return format!("errno {errno}"),
    };
    known.to_owned()
}
