//! Panics that tests plant in a running service. Only in builds with debug assertions: a release has nothing of this.
//!
//! `PUSH_SERVICE_PANIC=TASK` makes the first task of that name panic when it is first polled; `TASK:N` the Nth one.

pub(super) use self::build::Planted;

#[cfg(debug_assertions)]
mod build {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::tasks::Task;

    const VARIABLE: &str = "PUSH_SERVICE_PANIC";

    /// Whether a task has to panic.
    pub(in crate::tasks) struct Planted(bool);

    impl Planted {
        /// Of the task of that name that is made now.
        pub(in crate::tasks) fn in_next(task: Task) -> Self {
            static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
            let plan = PLAN.get_or_init(|| Plan::parse(&std::env::var(VARIABLE).ok()?));
            let is_it = |plan: &Plan| plan.task == task && plan.left.fetch_sub(1, Ordering::Relaxed) == 1;
            Self(plan.as_ref().is_some_and(is_it))
        }

        /// Panics if it has to, with a message that was put together, as one that holds a secret would be.
        pub(in crate::tasks) fn happen(&self) {
            // Hidden from the compiler, which would make a constant of it.
            let place = std::hint::black_box("a test");
            assert!(!self.0, "planted in {place}");
        }
    }

    struct Plan {
        task: Task,
        /// Tasks of that name that are still to be made, the one that panics among them.
        left: AtomicUsize,
    }

    impl Plan {
        fn parse(text: &str) -> Option<Self> {
            let (name, number) = text.split_once(':').unwrap_or((text, "1"));
            Some(Self {
                task: Task::ALL.iter().copied().find(|task| task.as_str() == name)?,
                left: AtomicUsize::new(number.parse().ok()?),
            })
        }
    }
}

#[cfg(not(debug_assertions))]
mod build {
    use crate::tasks::Task;

    /// Nothing is planted in a release.
    pub(in crate::tasks) struct Planted;

    impl Planted {
        pub(in crate::tasks) fn in_next(_: Task) -> Self {
            Self
        }

        pub(in crate::tasks) fn happen(&self) {}
    }
}
