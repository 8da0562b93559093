//! The metrics that a label divides, found by the label's number.

use std::marker::PhantomData;

use prometheus::Registry;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

use super::labels::Label;

/// One metric for each value of a label, resolved once so that counting is one array access.
pub(super) struct Family<L, M> {
    children: Box<[M]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, M: prometheus::core::Metric> Family<L, M> {
    /// Registers `vec`, whose only label is `L`, and resolves its children.
    pub(super) fn new<B>(registry: &Registry, vec: prometheus::Result<MetricVec<B>>) -> Self
    where
        B: MetricVecBuilder<M = M> + 'static,
    {
        let vec = register(registry, vec);
        Self {
            children: L::ALL
                .iter()
                .map(|label| vec.with_label_values(&[label.as_str()]))
                .collect(),
            label: PhantomData,
        }
    }

    /// The one of this value.
    pub(super) fn of(&self, label: L) -> &M {
        &self.children[label.index()]
    }

    /// All of them.
    pub(super) fn all(&self) -> &[M] {
        &self.children
    }
}

/// Registers a metric. Names and labels are constants of this folder, so a failure is a mistake in it.
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("names and labels are valid constants");
    registry
        .register(Box::new(metric.clone()))
        .expect("each name is registered once");
    metric
}
