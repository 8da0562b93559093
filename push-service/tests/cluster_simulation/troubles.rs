//! Causes troubles, one at a time, until their time is over.

use std::sync::Arc;

use tokio::time::sleep;

use crate::device::Command;
use crate::parameters::Trouble;
use crate::process::Process;
use crate::store::millis;
use crate::trace::trace;
use crate::world::World;

/// The longest trouble that ends by itself, such as a pause; in milliseconds.
const LONGEST: u64 = 10_000;

impl World {
    pub(crate) async fn trouble_on(self: Arc<Self>) {
        if self.parameters.troubles.is_empty() {
            return;
        }
        loop {
            let wait = self.chance().within(0..=2 * self.parameters.trouble_every);
            sleep(millis(wait)).await;
            if self.is_calm() {
                return;
            }
            let trouble = self.chance().pick(&self.parameters.troubles);
            self.befall(trouble);
        }
    }

    fn befall(self: &Arc<Self>, trouble: Trouble) {
        trace!(self, "trouble: {trouble:?}");
        let agent = self.chance().index(self.agents.len());
        let device = self.chance().index(2);
        let long = self.chance().within(100..=LONGEST);
        match trouble {
            Trouble::Cut => {
                self.checker().counts.cuts += 1;
                self.agents[agent].befall(device, Command::Cut);
            }
            Trouble::Move => self.agents[agent].befall(device, Command::Move),
            Trouble::Stall => self.agents[agent].befall(device, Command::Stall(long)),
            Trouble::Unsubscribe => self.agents[agent].befall(0, Command::Unsubscribe),
            Trouble::Burst => {
                let many = self.chance().within(2..=12);
                for _ in 0..many {
                    self.send_to_somebody();
                }
            }
            Trouble::Cancel => self.cancel(),
            Trouble::StoreClock => {
                let secs = self.chance().within(0..=240) as i64 - 120;
                self.store.clock.set_by(secs);
            }
            Trouble::Kill
            | Trouble::Pause
            | Trouble::Drain
            | Trouble::CutOff
            | Trouble::Deaf
            | Trouble::NodeClock => {
                if let Some(node) = self.some_node() {
                    trace!(self, "it is node {}, for {long} ms", node.health.place);
                    self.befall_node(&node, trouble, long);
                }
            }
        }
    }

    fn befall_node(self: &Arc<Self>, node: &Arc<Process>, trouble: Trouble, long: u64) {
        match trouble {
            Trouble::Kill => {
                self.checker().counts.kills += 1;
                self.replace_node(node, millis(long));
            }
            Trouble::Pause => {
                self.checker().counts.pauses += 1;
                node.pause(self, long);
            }
            Trouble::CutOff => node.cut_off(self, long),
            Trouble::Deaf => node.deafen(self, long),
            Trouble::NodeClock => {
                let secs = self.chance().within(0..=7_200) as i64 - 3_600;
                node.clock.set_by(secs);
            }
            _ => {
                self.checker().counts.drains += 1;
                let (world, node) = (Arc::clone(self), Arc::clone(node));
                tokio::spawn(async move {
                    Arc::clone(&node).drain(millis(long / 2)).await;
                    if !node.health.is_gone() {
                        world.replace_node(&node, millis(long / 2));
                    }
                });
            }
        }
    }
}
