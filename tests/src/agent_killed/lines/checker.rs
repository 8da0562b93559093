//! The checker of the test records what was sent, what was answered, what was printed in which life, and says what that proves.
//!
//! It knows no socket and no process; it is told lines and judges them:
//!
//! - A message answered 201 is printed. One answered 5xx or not at all may be printed or not.
//! - First prints of one subscription come in the order in which its sender sent, but for one message for each kill: the one that
//!   the user agent had in hand and had not printed is tried after the others.
//! - Nothing is printed twice in one life. The user agent handles one message at a time, so a kill can fall between the
//!   line and the record of one message only, the last one printed: it may come again, once for each such kill, in a later
//!   life. Which one that is depends: what the user agent had in hand at a kill is tried after what it had not. Nothing else may.
//! - A line is exactly what was sent, for its subscription; and a message that comes again has the same id.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::agent_killed::Ledger;
use crate::agent_killed::sent::{Key, Sent};

/// See the module.
#[derive(Debug)]
pub struct Checker {
    sent: Sent,
    life: usize,
    printed: HashMap<Key, Printed>,
    /// Of each subscription, the message that was printed last of those that were printed for the first time.
    newest: Vec<Option<usize>>,
    /// The last line of the last life that printed, and that life.
    last: Option<(Key, usize)>,
    /// What may come again, once.
    in_doubt: HashSet<Key>,
    /// Messages that may come behind later ones: one for each kill.
    may_be_late: usize,
    /// The user agent ended by itself.
    in_peace: bool,
    /// Lives that printed at all.
    lives: usize,
    repeats: usize,
    breaches: Vec<String>,
}

#[derive(Debug)]
struct Printed {
    id: String,
    /// The last life that printed it.
    life: usize,
}

impl Checker {
    /// A checker that has seen nothing, for subscriptions of these names.
    pub fn new(names: &[&'static str]) -> Self {
        Self {
            sent: Sent::new(names),
            life: 0,
            printed: HashMap::new(),
            newest: vec![None; names.len()],
            last: None,
            in_doubt: HashSet::new(),
            may_be_late: 0,
            in_peace: true,
            lives: 0,
            repeats: 0,
            breaches: Vec::new(),
        }
    }

    /// The user agent is started. What was printed last before is in doubt: it may not have been recorded.
    pub fn life_begins(&mut self) {
        self.life += 1;
        self.may_be_late += usize::from(!std::mem::take(&mut self.in_peace));
        self.in_doubt.extend(self.last.take().map(|(key, _)| key));
    }

    /// The user agent ended by itself: nothing is in doubt.
    pub fn life_ended_in_peace(&mut self) {
        self.last = None;
        self.in_peace = true;
    }

    /// The user agent printed this line.
    pub fn printed(&mut self, line: &str) {
        if let Err(breach) = self.enter(line) {
            self.breach(&breach);
        }
    }

    /// All breaches.
    pub fn audit(&self) -> Vec<String> {
        let mut breaches = self.breaches.clone();
        breaches.extend(self.sent.lost());
        breaches
    }

    /// What happened, in figures.
    pub fn summary(&self) -> String {
        let (accepted, printed) = self.sent.figures();
        format!(
            "{accepted} messages accepted, {printed} printed in {} lives, {} of them twice",
            self.lives, self.repeats
        )
    }

    fn enter(&mut self, line: &str) -> Result<(), String> {
        let line: Value = serde_json::from_str(line).map_err(|_| format!("no line of JSON: {line}"))?;
        let member = |name: &str| {
            let text = line.get(name).and_then(Value::as_str);
            text.ok_or_else(|| format!("a line without {name}: {line}"))
        };
        let (name, id, text) = (member("subscription")?, member("id")?, member("text")?);
        let key = self.sent.find(name, text)?;
        if self.last.is_none_or(|(_, life)| life != self.life) {
            self.lives += 1;
        }
        self.last = Some((key, self.life));
        self.sent.arrived(key);
        let printed = Printed {
            id: id.to_owned(),
            life: self.life,
        };
        let Some(before) = self.printed.insert(key, printed) else {
            return match self.newest[key.0] {
                Some(newest) if newest > key.1 && self.may_be_late == 0 => {
                    Err(format!("{name} {} came after {newest}", key.1))
                }
                Some(newest) if newest > key.1 => {
                    self.may_be_late -= 1;
                    Ok(())
                }
                _ => {
                    self.newest[key.0] = Some(key.1);
                    Ok(())
                }
            };
        };
        self.repeats += 1;
        if before.id != id {
            return Err(format!("{name} {} came again with another id", key.1));
        }
        if !self.in_doubt.remove(&key) {
            let before = before.life;
            return Err(format!("{name} {} came again, after life {before}", key.1));
        }
        Ok(())
    }
}

impl Ledger for Checker {
    fn sent(&mut self) -> &mut Sent {
        &mut self.sent
    }

    fn breach(&mut self, breach: &str) {
        let breach = format!("life {}: {breach}", self.life);
        self.breaches.push(breach);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent_killed::sent::RequestResult;

    /// Two messages that were accepted.
    fn checker() -> (Checker, [String; 2]) {
        let mut checker = Checker::new(&["a"]);
        let lines = [0, 1].map(|number| {
            let (message, text) = checker.sent.begin(0, 3);
            checker.sent.answered(0, message, RequestResult::Accepted);
            json!({"subscription": "a", "id": format!("id {number}"), "text": text}).to_string()
        });
        checker.life_begins();
        (checker, lines)
    }

    /// What was accepted and not printed is missing, and a breach in the end.
    #[test]
    fn what_is_lost_shows() {
        let (mut checker, [first, _]) = checker();
        checker.printed(&first);
        assert_eq!(checker.sent.missing(), 1);
        assert_eq!(checker.audit().len(), 1);
    }

    /// The last line of a life may come again in a later one, and nothing else, and only once.
    #[test]
    fn only_the_last_line_is_in_doubt() {
        let (mut checker, [first, second]) = checker();
        checker.printed(&first);
        checker.printed(&second);
        checker.life_begins();
        checker.life_begins();
        checker.printed(&second);
        assert_eq!(checker.audit(), [""; 0]);
        checker.printed(&second);
        assert_eq!(checker.audit().len(), 1, "twice in one life");
        checker.life_begins();
        checker.printed(&first);
        assert_eq!(checker.audit().len(), 2, "long recorded");
        checker.life_ended_in_peace();
        checker.life_begins();
        checker.printed(&first);
        assert_eq!(checker.audit().len(), 3, "recorded for certain");
    }

    /// Order, ids, texts and subscriptions are checked.
    #[test]
    fn what_is_wrong_shows() {
        let (mut checker, [first, second]) = checker();
        for line in [
            "",
            "{}",
            &first.replace('~', "-"),
            &first.replace("\"a\"", "\"b\""),
        ] {
            let before = checker.audit().len();
            checker.printed(line);
            assert_eq!(checker.audit().len(), before + 1, "{line}");
        }
        let before = checker.audit().len();
        checker.printed(&second);
        checker.printed(&first);
        // Nothing is missing any more, and the order is wrong.
        assert_eq!(checker.audit().len(), before - 2 + 1);
        checker.life_begins();
        checker.printed(&first.replace("id 0", "id 9"));
        assert!(checker.audit().last().unwrap().contains("another id"));
    }
}
