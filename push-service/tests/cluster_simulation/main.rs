//! Several nodes over one storage in virtual time: the real registry, channels, reconciler and carrier of receipts, with
//! wake-ups that are lost, late, repeated and out of order; nodes that pause, die, leave and come back; user agents that
//! move between nodes or log in twice; and steps of storage that answer late, or fail having run or not.
//!
//! Each seed is a world of its own, the same one each time. The [`books`] say what was promised; a world in which a
//! promise is broken is shown with its seed, the rule, and what happened last.
//!
//! `docs/simulation.md` says what is simulated, what is promised, and how to repeat a seed.

mod books;
mod bus;
#[path = "../simulation/chance.rs"]
mod chance;
mod closing;
mod device;
mod link;
mod plant;
mod process;
#[path = "../simulation/runner.rs"]
mod runner;
mod sender;
mod store;
mod tap;
#[path = "../simulation/trace.rs"]
mod trace;
mod troubles;
mod weather;
mod wire;
mod world;

use std::process::ExitCode;

use runner::Simulation;

fn main() -> ExitCode {
    let simulation = Simulation {
        name: "cluster_simulation",
        about: "Several nodes over one storage, in worlds that are drawn from seeds.",
        plants: plant::ALL,
        world: world::live,
    };
    simulation.main()
}
