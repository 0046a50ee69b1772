//! Where large buffers lie: in the heap, in every program that is measured.
//!
//! Owns one setting of the allocator. A block of 128 KiB and more has pages of its own in glibc and begins 16
//! bytes behind the start of one, until the first such block is freed: from then on they come from the heap
//! (`mallopt(3)`, M_MMAP_THRESHOLD). A server whose connections come and go is soon in that state; one that
//! is measured for a second, with connections that stay, would never be. On an AMD EPYC (family 25) it
//! matters: the kernel copies what begins with a page into such a block at a tenth of the speed
//! (kernel-notes/copy-offset.md).

/// Makes the allocator what it is after a block of the largest size that it would keep was freed. Before the
/// first allocation that counts.
pub(crate) fn holds_large_buffers() {
    #[cfg(target_env = "gnu")]
    {
        const LARGEST: libc::c_int = 32 << 20;
        // SAFETY: parameters of the allocator, set while there is no second thread.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * LARGEST);
        }
    }
}
