//! What it costs to take tokens from a budget, which every request does once or twice.
//!
//! ```sh
//! cargo run --release --example budget_cost
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use push_protocol::KeyDigest;
use push_service::budgets::Budgets;
use push_service::config::Limits;

/// Requests of each row.
const REQUESTS: u32 = 5_000_000;

fn main() {
    let limits = Limits {
        work_per_address: 1_000_000_000,
        work_per_sender: 1_000_000_000,
        ..Limits::default()
    };
    let budgets = Budgets::new(&limits, Arc::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    for addresses in [1, 1_000, 1_000_000_u32] {
        let payers: Vec<_> = (0..addresses)
            .map(|n| budgets.payer(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))))
            .collect();
        let started = Instant::now();
        let refused = runtime.block_on(async {
            let mut refused = 0_u32;
            for payer in payers.iter().cycle().take(REQUESTS as usize) {
                refused += u32::from(budgets.pay(*payer, 50).await.is_err());
            }
            refused
        });
        let each = started.elapsed() / REQUESTS;
        println!("{addresses:9} addresses: {each:?} a request, {refused} refused");
    }
    let payer = budgets.payer(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let started = Instant::now();
    let refused = runtime.block_on(async {
        let mut refused = 0_u32;
        for n in 0..REQUESTS {
            let sender = KeyDigest([(n % 200) as u8; 32]);
            refused += u32::from(budgets.pay_as_sender(payer, sender, 50).await.is_err());
        }
        refused
    });
    let each = started.elapsed() / REQUESTS;
    println!("200 application server keys: {each:?} a request, {refused} refused");
    let started = Instant::now();
    let mut known = 0_u32;
    for n in 0..REQUESTS {
        known += u32::from(budgets.payer(IpAddr::V4(Ipv4Addr::from_bits(n))) == payer);
    }
    println!(
        "who pays: {:?} a connection, {known} known",
        started.elapsed() / REQUESTS
    );
}
