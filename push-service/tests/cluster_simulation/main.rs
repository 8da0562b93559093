//! Several nodes over one storage in virtual time: the real registry, channels, reconciler and receipt carrier.
//! Wake-ups are lost, late, repeated and out of order; nodes pause, die, drain and come back; user agents move
//! between nodes or log in twice; and steps of storage answer late, or fail, executed or not.
//!
//! Each seed gives one world, the same each time. The [`checker`] records what was promised; if a promise is broken, the
//! run shows the world's seed, the rule, and the last events.
//!
//! `docs/simulation.md` says what is simulated, what is promised, and how to repeat a seed.

mod bus;
#[path = "../simulation/chance.rs"]
mod chance;
mod checker;
mod closing;
mod device;
mod link;
mod parameters;
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
