//! A task whose panics are counted under its name, and whose lines in the log say whose it is.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tracing::Span;

use super::Task;
use super::panics::Polling;
use super::planted::Planted;

pin_project! {
    /// A task's work. A panic passes through it to the runtime, which ends that task alone.
    pub struct Watched<F> {
        #[pin]
        work: F,
        owner: Owner,
        task: Task,
        planted: Planted,
    }
}

impl<F: Future> Watched<F> {
    /// Work that is counted as this task, and logs as this owner's.
    pub fn new(task: Task, owner: Owner, work: F) -> Self {
        Self {
            work,
            owner,
            task,
            planted: Planted::in_next(task),
        }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _polling = Polling::begin(*this.task);
        this.planted.happen();
        match &this.owner.0 {
            None => this.work.poll(cx),
            Some(span) => span.in_scope(|| this.work.poll(cx)),
        }
    }
}

/// Whose task it is, as the log shows it: a tracing span. Nothing, and no memory, while the span's level is off.
#[derive(Clone, Debug)]
pub struct Owner(Option<Box<Span>>);

impl Owner {
    /// No owner: for the service's own tasks.
    pub const NONE: Self = Self(None);

    /// The owner that a span describes. Build the span with a macro of `tracing`: it must hold no secret.
    pub fn new(span: Span) -> Self {
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    /// The owner of the task that runs now: for a task that it starts.
    pub fn current() -> Self {
        Self::new(Span::current())
    }

    /// The span, to add to it what is known later.
    pub fn span(&self) -> Option<&Span> {
        self.0.as_deref()
    }
}
