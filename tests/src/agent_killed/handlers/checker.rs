//! The checker of the trial with handlers records what was sent, what handlers said in which life, and says what that proves.
//!
//! It knows no process; it is told what happened and judges it:
//!
//! - A message answered 201 is handled in the end, whatever was killed, and however often handlers could not work.
//! - No message is given up. The trial kills no handler of a message twice, and cuts no message off more often than a
//!   user agent must survive.
//! - A message that was handled is handled again only if its record may be missing: when its life was cut off right after,
//!   or when its handler was killed right after its last line. Each such kill is good for one repetition.
//! - No handler works beside those of a later life, no message has two at once, and no more run than are allowed to.
//! - A life that was stopped in order has finished what it had in hand, and leaves no handler behind.
//! - What handlers get is exactly what was sent, for its subscription, with the same id each time.
//!
//! The order of messages is not checked: one that failed is overtaken by others.

use std::collections::{BTreeMap, HashMap};

use super::workshop::{Said, What};
use crate::agent_killed::Ledger;
use crate::agent_killed::sent::{Key, Sent};

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By one signal, in order.
    InOrder,
    /// By a second signal, which ends what is in hand.
    InHaste,
    /// By SIGKILL.
    Killed,
}

/// See the module.
#[derive(Debug)]
pub struct Checker {
    sent: Sent,
    /// All lives so far; the last one is the current one.
    lives: Vec<AgentRun>,
    /// Runs that have begun and not ended, by life and process.
    runs: BTreeMap<(usize, i32), Run>,
    works: HashMap<Key, Work>,
    begun: usize,
    handled: usize,
    refused: usize,
    handlers_killed: usize,
    repeats: usize,
    breaches: Vec<String>,
}

/// A run of the user agent: a "life" in this trial.
#[derive(Debug)]
struct AgentRun {
    /// How many handlers may run at once.
    jobs: usize,
    /// How it ended, if it has.
    end: Option<End>,
    /// Handlers that have done their work.
    ends: usize,
    /// Whether a handler has begun.
    has_begun: bool,
}

/// A run of the handler.
#[derive(Clone, Copy, Debug)]
struct Run {
    key: Key,
    /// The trial kills it. It may have done its work before.
    is_killed: bool,
}

/// What was done with a message.
#[derive(Debug)]
struct Work {
    id: String,
    handled: Option<Handled>,
    /// The trial has killed a handler of it.
    is_killed: bool,
    /// How often its life was cut off while its handler ran, or before its record was made.
    cuts: usize,
}

/// When a message was handled.
#[derive(Clone, Copy, Debug)]
struct Handled {
    life: usize,
    /// How many were handled in that life before.
    nth: usize,
    /// Its handler was killed right after.
    is_killed: bool,
}

impl Checker {
    /// A checker that has seen nothing, for subscriptions of these names.
    pub fn new(names: &[&'static str]) -> Self {
        Self {
            sent: Sent::new(names),
            lives: Vec::new(),
            runs: BTreeMap::new(),
            works: HashMap::new(),
            begun: 0,
            handled: 0,
            refused: 0,
            handlers_killed: 0,
            repeats: 0,
            breaches: Vec::new(),
        }
    }

    /// The user agent is started, and may run so many handlers at once. Returns the life's number.
    pub fn life_begins(&mut self, jobs: usize) -> usize {
        self.lives.push(AgentRun {
            jobs,
            end: None,
            ends: 0,
            has_begun: false,
        });
        self.lives.len() - 1
    }

    /// A handler said this.
    pub fn said(&mut self, said: Said) {
        if let Err(breach) = self.enter(said) {
            self.breach(&breach);
        }
    }

    /// The current life has ended, and all that its handlers said until then is entered.
    pub fn life_ended(&mut self, end: End) {
        let current = self.current();
        self.lives[current].end = Some(end);
        let left: Vec<_> = self.unfinished(current).map(|(_, run)| run.key).collect();
        for key in left {
            match end {
                End::Killed => self.cut(key),
                End::InHaste => {}
                End::InOrder => {
                    let name = self.sent.name(key);
                    self.breach(&format!(
                        "{name} was in hand, and not finished by a stop in order"
                    ));
                }
            }
        }
    }

    /// Chooses a handler whose message has lost none yet, by its number among these. It is killed after this.
    pub fn victim(&mut self, choose: impl FnOnce(usize) -> usize) -> Option<i32> {
        let current = self.current();
        let able: Vec<_> = self
            .unfinished(current)
            .filter(|(_, run)| !self.works[&run.key].is_killed)
            .collect();
        if able.is_empty() {
            return None;
        }
        let (pid, run) = able[choose(able.len())];
        self.works.entry(run.key).and_modify(|work| work.is_killed = true);
        self.runs
            .entry((current, pid))
            .and_modify(|run| run.is_killed = true);
        self.handlers_killed += 1;
        Some(pid)
    }

    /// The most often that a message was cut off which is not handled yet.
    pub fn most_cuts(&self) -> usize {
        let waiting = self.works.values().filter(|work| work.handled.is_none());
        waiting.map(|work| work.cuts).max().unwrap_or(0)
    }

    /// Runs that have begun so far, in all lives.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// The same for those that have done their work.
    pub fn handled(&self) -> usize {
        self.handled
    }

    /// The same for those that could not work.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// All breaches.
    pub fn audit(&self) -> Vec<String> {
        let mut breaches = self.breaches.clone();
        breaches.extend(self.sent.lost());
        breaches
    }

    /// What happened, in figures.
    pub fn summary(&self) -> String {
        let (accepted, handled) = self.sent.figures();
        let ended = |end| self.lives.iter().filter(|life| life.end == Some(end)).count();
        format!(
            "{accepted} messages accepted, {handled} handled in {} lives ({} killed, {} stopped in order, {} in haste); \
             {} handlers killed, {} could not work; {} messages handled again",
            self.lives.len(),
            ended(End::Killed),
            ended(End::InOrder),
            ended(End::InHaste),
            self.handlers_killed,
            self.refused,
            self.repeats
        )
    }

    fn current(&self) -> usize {
        self.lives.len().checked_sub(1).expect("a life has begun")
    }

    /// Runs of this life, by process, that have not ended and are not killed.
    fn unfinished(&self, life: usize) -> impl Iterator<Item = (i32, Run)> + '_ {
        let runs = self.runs.range((life, i32::MIN)..=(life, i32::MAX));
        let runs = runs.map(|((_, pid), run)| (*pid, *run));
        runs.filter(|(_, run)| !run.is_killed)
    }

    fn enter(&mut self, Said { life, pid, what }: Said) -> Result<(), String> {
        let later = (life + 1..self.lives.len()).find(|later| self.lives[*later].has_begun);
        if let Some(later) = later {
            return Err(format!(
                "a handler of life {life} works beside those of life {later}: {what:?}"
            ));
        }
        if matches!(self.lives[life].end, Some(End::InOrder | End::InHaste)) {
            return Err(format!("a handler of life {life} works after its end: {what:?}"));
        }
        match what {
            What::Begin {
                id,
                subscription,
                text,
            } => {
                let key = self.sent.find(&subscription, &text)?;
                self.begin(life, pid, key, &id)
            }
            What::Refused => {
                self.refused += 1;
                self.runs.remove(&(life, pid));
                Ok(())
            }
            What::End => {
                if let Some(run) = self.runs.remove(&(life, pid)) {
                    self.end(life, run);
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, life: usize, pid: i32, key: Key, id: &str) -> Result<(), String> {
        self.begun += 1;
        self.lives[life].has_begun = true;
        let name = self.sent.name(key);
        let is_double = self.unfinished(life).any(|(_, run)| run.key == key);
        self.runs.insert(
            (life, pid),
            Run {
                key,
                is_killed: false,
            },
        );
        let running = self.unfinished(life).count();
        if is_double {
            return Err(format!("{name} has two handlers at once"));
        }
        if running > self.lives[life].jobs {
            return Err(format!("{running} handlers at once, with {name}"));
        }
        let work = self.works.entry(key).or_insert_with(|| Work {
            id: id.to_owned(),
            handled: None,
            is_killed: false,
            cuts: 0,
        });
        if work.id != id {
            return Err(format!("{name} came again with another id"));
        }
        let Some(handled) = work.handled.take() else {
            return Ok(());
        };
        self.repeats += 1;
        if self.lives[handled.life].end == Some(End::Killed) {
            self.cut(key);
        }
        if handled.is_killed || self.is_in_doubt(handled) {
            return Ok(());
        }
        Err(format!("{name} is handled again, after life {}", handled.life))
    }

    fn end(&mut self, life: usize, run: Run) {
        self.handled += 1;
        self.sent.arrived(run.key);
        let handled = Handled {
            life,
            nth: self.lives[life].ends,
            is_killed: run.is_killed,
        };
        self.lives[life].ends += 1;
        self.works
            .entry(run.key)
            .and_modify(|work| work.handled = Some(handled));
    }

    /// Whether the record of what was handled then may be missing. With one handler at a time, the next begins when the
    /// record is made. With more, the order in which they end is not the order of their records.
    fn is_in_doubt(&self, handled: Handled) -> bool {
        let AgentRun { jobs, end, ends, .. } = self.lives[handled.life];
        let last = if jobs == 1 { 1 } else { 2 * jobs };
        matches!(end, Some(End::Killed | End::InHaste)) && handled.nth + last >= ends
    }

    fn cut(&mut self, key: Key) {
        self.works.entry(key).and_modify(|work| work.cuts += 1);
    }
}

impl Ledger for Checker {
    fn sent(&mut self) -> &mut Sent {
        &mut self.sent
    }

    fn breach(&mut self, breach: &str) {
        let breach = format!("life {}: {breach}", self.lives.len());
        self.breaches.push(breach);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_killed::sent::RequestResult;

    /// Two messages that were accepted, and the first life of a user agent with so many hands.
    fn checker(jobs: usize) -> (Checker, [Key; 2]) {
        let mut checker = Checker::new(&["a"]);
        let keys = [0, 1].map(|_| {
            let (message, _) = checker.sent.begin(0, 3);
            checker.sent.answered(0, message, RequestResult::Accepted);
            (0, message)
        });
        checker.life_begins(jobs);
        (checker, keys)
    }

    impl Checker {
        fn begins(&mut self, life: usize, pid: i32, key: Key) {
            let what = What::Begin {
                id: format!("id {}", key.1),
                subscription: "a".into(),
                text: self.sent.text(key),
            };
            self.said(Said { life, pid, what });
        }

        fn works(&mut self, life: usize, pid: i32, key: Key) {
            self.begins(life, pid, key);
            let what = What::End;
            self.said(Said { life, pid, what });
        }

        /// Breaches apart from what is missing.
        fn breaches(&self) -> usize {
            self.breaches.len()
        }
    }

    /// What was accepted and not handled is missing, and a breach in the end; what refused has handled nothing.
    #[test]
    fn what_is_lost_shows() {
        let (mut checker, keys) = checker(1);
        checker.works(0, 1, keys[0]);
        checker.begins(0, 2, keys[1]);
        let what = What::Refused;
        checker.said(Said {
            life: 0,
            pid: 2,
            what,
        });
        checker.life_ended(End::InOrder);
        assert_eq!((checker.breaches(), checker.audit().len()), (0, 1));
    }

    /// With one handler at a time only the last one of a life that was cut off is in doubt, and only once.
    #[test]
    fn only_the_last_is_in_doubt() {
        for (end, again) in [(End::Killed, 0), (End::InHaste, 0), (End::InOrder, 1)] {
            let (mut checker, keys) = checker(1);
            checker.works(0, 1, keys[0]);
            checker.works(0, 2, keys[1]);
            checker.life_ended(end);
            checker.life_begins(1);
            checker.works(1, 3, keys[1]);
            assert_eq!(checker.breaches(), again, "{end:?}");
            checker.works(1, 4, keys[1]);
            assert_eq!(checker.breaches(), again + 1, "{end:?}: twice in one life");
            checker.works(1, 5, keys[0]);
            assert_eq!(checker.breaches(), again + 2, "{end:?}: long recorded");
        }
    }

    /// A handler that is killed may have done its work, which then comes again.
    #[test]
    fn a_victim_may_have_worked() {
        let (mut checker, keys) = checker(1);
        checker.begins(0, 1, keys[0]);
        assert_eq!(checker.victim(|_| 0), Some(1));
        let what = What::End;
        checker.said(Said {
            life: 0,
            pid: 1,
            what,
        });
        checker.begins(0, 2, keys[0]);
        assert_eq!(checker.victim(|_| 0), None, "no second one of the same message");
        assert_eq!(checker.breaches(), 0);
    }

    /// No handler works beside a later life, or after a stop; none is left by a stop in order.
    #[test]
    fn what_is_left_behind_shows() {
        let (mut checker, keys) = checker(1);
        checker.begins(0, 1, keys[0]);
        checker.life_ended(End::Killed);
        assert_eq!(checker.most_cuts(), 1);
        checker.life_begins(1);
        checker.begins(1, 2, keys[1]);
        let what = What::End;
        checker.said(Said {
            life: 0,
            pid: 1,
            what,
        });
        assert_eq!(checker.breaches(), 1, "beside a later life");
        checker.life_ended(End::InOrder);
        assert_eq!(checker.breaches(), 2, "not finished");
        let what = What::End;
        checker.said(Said {
            life: 1,
            pid: 2,
            what,
        });
        assert_eq!(checker.breaches(), 3, "after a stop");
    }

    /// Hands are counted, and no message has two handlers.
    #[test]
    fn hands_are_counted() {
        let (mut checker, keys) = checker(1);
        checker.begins(0, 1, keys[0]);
        checker.begins(0, 2, keys[1]);
        assert_eq!(checker.breaches(), 1, "more than are allowed");
        let (mut checker, keys) = self::checker(2);
        checker.begins(0, 1, keys[0]);
        checker.begins(0, 2, keys[0]);
        assert_eq!(checker.breaches(), 1, "two of one message");
    }
}
