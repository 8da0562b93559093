//! Every test that runs real binaries, in one program: so it is linked once. `run.sh` has a step for each module and runs that
//! step's tests alone.

#[path = "acme.rs"]
mod acme;
#[path = "agent_killed.rs"]
mod agent_killed;
#[path = "black_box/main.rs"]
mod black_box;
#[path = "checker.rs"]
mod checker;
#[path = "cluster.rs"]
mod cluster;
#[path = "floods/main.rs"]
mod floods;
#[path = "lies/main.rs"]
mod lies;
#[path = "memory.rs"]
mod memory;
#[path = "nothing_lost.rs"]
mod nothing_lost;
#[path = "proxies.rs"]
mod proxies;
#[path = "redis_faults/main.rs"]
mod redis_faults;
#[path = "rfc8030/main.rs"]
mod rfc8030;
#[path = "rfc8030_clients/main.rs"]
mod rfc8030_clients;
#[path = "rollout.rs"]
mod rollout;
