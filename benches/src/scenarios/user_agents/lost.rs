//! Many user agents of one process lose their service at the same moment: how they come back.
//!
//! Their service is lost for some seconds and comes back, as after a kill and a restart. When it is there again, their
//! connections have to be spread over time: one that is met by all of them at once is slow for all, and so is the process
//! in which they run.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use user_agent_client::Event;

use super::gate::Gate;
use super::{State, start, stop};
use crate::failure::{BenchResult, Failure};
use crate::target::Target;

/// How long the service is away. Chosen: what a restart with its store takes.
const AWAY: Duration = Duration::from_secs(3);

/// How many come back together is counted over so long.
const TOGETHER: Duration = Duration::from_millis(100);

/// All have to be back within this time after the service. Chosen: the wait that they have reached by then, several times.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// How they came back.
pub(super) struct CameBack {
    count: usize,
    /// When each came, after the service was there again, in order.
    times: Vec<Duration>,
}

/// Lets so many lose their service.
pub(super) async fn lose(target: &Target, count: usize) -> BenchResult<CameBack> {
    let service = target.clear().address();
    let gate = Gate::open(service)?;
    let members = start(&gate.connector(target.clear())?, count, || Ok(State::in_memory())).await?;
    gate.shut();
    // The one place where time itself is what is measured.
    sleep(AWAY).await;
    let back = Instant::now();
    gate.open_to(service);
    let (mut agents, mut streams) = (Vec::new(), Vec::new());
    for member in members {
        agents.push(member.agent);
        streams.push(member.events);
    }
    let all = async {
        for events in &mut streams {
            // Connected at first, disconnected, and connected again.
            let mut connected = 0;
            while connected < 2 {
                match events.next().await {
                    Some(Event::Connected) => connected += 1,
                    Some(Event::Disconnected { .. }) => {}
                    other => return Err(Failure::new(format!("a user agent was told {other:?}"))),
                }
            }
        }
        Ok(())
    };
    let all = timeout(BACK_WITHIN, all).await;
    let came = gate.arrivals();
    all.map_err(|_| {
        Failure::new(format!(
            "{} of {count} came back within {BACK_WITHIN:?}",
            came.len()
        ))
    })??;
    stop(target.clear(), agents).await?;
    let mut times: Vec<_> = came.iter().map(|at| at.saturating_duration_since(back)).collect();
    times.sort_unstable();
    if times.len() != count {
        return Err(Failure::new(format!(
            "{count} user agents made {} connections",
            times.len()
        )));
    }
    Ok(CameBack { count, times })
}

impl CameBack {
    /// The most that came within [`TOGETHER`], as a share of all.
    pub(super) fn largest_share(&self) -> f64 {
        let within = |(nth, first): (usize, &Duration)| {
            let later = &self.times[nth..];
            later.partition_point(|time| *time < *first + TOGETHER)
        };
        let largest = self.times.iter().enumerate().map(within).max().unwrap_or(0);
        largest as f64 / self.count.max(1) as f64
    }

    /// When the last one was back, in seconds.
    pub(super) fn last_seconds(&self) -> f64 {
        self.times.last().map_or(0.0, Duration::as_secs_f64)
    }

    fn percentile(&self, percent: usize) -> f64 {
        let nth = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(nth).map_or(0.0, Duration::as_secs_f64)
    }

    /// How many came in each second.
    fn by_second(&self) -> Vec<usize> {
        let seconds = self.times.last().map_or(0, |last| last.as_secs() as usize + 1);
        let mut counts = vec![0; seconds];
        for time in &self.times {
            counts[time.as_secs() as usize] += 1;
        }
        counts
    }
}

impl fmt::Display for CameBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  {} lost their service for {} s: half were back {:.2} s after it, 99 % after {:.2} s, all after {:.2} s\n    \
             in each second {:?}; at most {:.1} % within {} ms",
            self.count,
            AWAY.as_secs(),
            self.percentile(50),
            self.percentile(99),
            self.last_seconds(),
            self.by_second(),
            self.largest_share() * 100.0,
            TOGETHER.as_millis()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came_back(millis: &[u64]) -> CameBack {
        CameBack {
            count: millis.len(),
            times: millis.iter().copied().map(Duration::from_millis).collect(),
        }
    }

    /// Those who come together are found wherever they are, and seconds are counted.
    #[test]
    fn the_largest_share_is_found() {
        let spread = came_back(&[0, 100, 200, 300]);
        assert_eq!((spread.largest_share(), spread.last_seconds()), (0.25, 0.3));
        let burst = came_back(&[0, 950, 990, 1_040, 2_500]);
        assert_eq!(burst.largest_share(), 0.6);
        assert_eq!(burst.by_second(), [3, 1, 1]);
        assert_eq!(came_back(&[]).largest_share(), 0.0);
    }
}
