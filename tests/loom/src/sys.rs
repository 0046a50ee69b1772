//! What cells and ops need of the kernel's language: numbers, and no kernel.

pub(crate) mod fork {
    //! No model forks.

    pub(crate) fn is_child() -> bool {
        false
    }
}

pub(crate) mod sqe {
    //! An entry without content, and a result.

    pub(crate) const RES_FORKED: i32 = -10_000;
    pub(crate) const RES_GONE: i32 = -10_001;

    #[derive(Clone, Copy, Debug, Default)]
    pub(crate) struct Sqe {
        pub(crate) opcode: u8,
        pub(crate) user_data: u64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Cqe {
        pub(crate) res: i32,
    }

    impl Cqe {
        pub(crate) fn made_up(res: i32) -> Self {
            Self { res }
        }

        pub(crate) fn more(self) -> bool {
            false
        }
    }
}
