//! Both ends of the protocol against each other: the service's session over real storage, the user agent's session with
//! what it keeps, and between them the real wire on a network that loses connections, in virtual time.
//!
//! Each seed is a world of its own, the same one each time. The [`checker`] says what was promised; a world in which a
//! promise is broken is shown with its seed, the rule, and what happened last.
//!
//! `docs/simulation.md` says what is simulated, what is promised, and how to repeat a seed.

mod actions;
mod agent;
mod application;
mod chance;
mod checker;
mod closing;
mod network;
mod node;
mod parameters;
mod plant;
mod runner;
mod steps;
mod trace;
mod troubles;
mod turn;
mod world;

use std::process::ExitCode;

use runner::Simulation;
use world::World;

fn main() -> ExitCode {
    let simulation = Simulation {
        name: "simulation",
        about: "Both ends of the protocol against each other, in worlds that are drawn from seeds.",
        plants: plant::ALL,
        world: |seed, plant| {
            let checker = World::new(seed, plant).run();
            (checker.counts, checker.violation)
        },
    };
    simulation.main()
}
