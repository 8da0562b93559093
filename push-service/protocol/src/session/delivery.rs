//! Which messages a session offers, and in which order.
//!
//! Storage is the truth and a wake-up is a hint: if the message of a wake-up follows the cursor, it is offered as it comes.
//! Any other wake-up only says that there is something to read. So wake-ups may be lost, repeated or reordered.
//!
//! **Invariants.** First offers of one subscription come in the order of acceptance (PR-4). Nothing is offered beyond
//! the window (PR-16). A subscription that fills its half of the window does not stop the others (PR-17): the cursor passes
//! over its messages, and a *lag*, a cursor of its own, remembers where it has to go on.

use std::cmp::Ordering;
use std::sync::Arc;

use super::queue::{Page, PageRequest, Scope};
use super::wanted::Wanted;
use super::window::Window;
use super::{Action, Limits, Moment};
use crate::identifiers::{MessageId, MessageNumber, SubscriptionId};
use crate::message::PushMessage;
use crate::urgency::Urgency;

/// A channel's place in its user agent's queue.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) window: Window,
    /// Everything up to this number was offered, was refused by the filter, or is behind a lag.
    cursor: MessageNumber,
    wanted: Wanted,
    /// Each message is offered once, without waiting for its acknowledgement: the window holds nothing (PR-19).
    once: bool,
    /// There may be something above the cursor that no wake-up will bring.
    behind: bool,
    /// Whose turn it is to be paged, so that neither the cursor nor the lags starve.
    lags_turn: bool,
    /// Boxed, because an idle session reads nothing.
    paging: Option<Box<Paging>>,
    lags: Vec<Lag>,
    /// What is on the wire above this number is to be looked for in storage: it may have left unnoticed.
    unsure_above: Option<MessageNumber>,
}

/// The page that is under way, and what happened since it was asked for.
#[derive(Debug)]
struct Paging {
    of: PageOf,
    /// The highest number heard of.
    heard_of: MessageNumber,
    /// What left the wire, which storage may have read before: it's not offered again (PR-4). At most a window of them.
    left: Vec<MessageId>,
    /// Start over when the page has come.
    restart: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PageOf {
    Cursor,
    Lag(SubscriptionId),
    /// What is on the wire above this number.
    Window(MessageNumber),
}

impl Paging {
    fn begin(of: PageOf) -> Option<Box<Self>> {
        Some(Box::new(Self {
            of,
            heard_of: MessageNumber::START,
            left: Vec::new(),
            restart: false,
        }))
    }

    fn heard_of(&mut self, number: MessageNumber) {
        self.heard_of = self.heard_of.max(number);
    }
}

/// A subscription whose messages above `cursor` wait for room in its half of the window.
#[derive(Debug)]
struct Lag {
    subscription: SubscriptionId,
    cursor: MessageNumber,
}

impl Delivery {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            window: Window::new(limits.in_flight),
            cursor: MessageNumber::START,
            wanted: Wanted::Everything(Urgency::VeryLow),
            once: false,
            behind: false,
            lags_turn: false,
            paging: None,
            lags: Vec::new(),
            unsure_above: None,
        }
    }

    /// The number up to which nothing more is read, of no subscription.
    pub(super) fn cursor(&self) -> MessageNumber {
        let lags = self.lags.iter().map(|lag| lag.cursor);
        lags.fold(self.cursor, MessageNumber::min)
    }

    /// The head of the queue, which comes with the seat.
    pub(super) fn head(&mut self, limits: &Limits) -> PageRequest {
        self.paging = Paging::begin(PageOf::Cursor);
        self.request(self.wanted.scope(Vec::new()), self.cursor, self.room(), limits)
    }

    /// The user agent is new: its queue is empty.
    pub(super) fn nothing_stored(&mut self) {
        self.paging = None;
    }

    /// Before anything is read: what to bring, and whether what waits is all that is asked for.
    pub(super) fn begin(&mut self, wanted: Wanted, once: bool) {
        self.wanted = wanted;
        self.once = once;
    }

    /// Whether this is what it brings.
    pub(super) fn wants(&self, wanted: &Wanted) -> bool {
        self.wanted == *wanted
    }

    /// Brings this from now on, what waited and was not wanted before included (PR-22).
    pub(super) fn set_wanted(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        self.start_over();
    }

    /// Whether everything that waited was offered to one who asks for nothing else.
    pub(super) fn is_complete(&self) -> bool {
        self.once && self.paging.is_none() && !self.behind
    }

    fn room(&self) -> usize {
        if self.once { usize::MAX } else { self.window.room() }
    }

    fn room_for(&self, subscription: SubscriptionId) -> usize {
        if self.once {
            usize::MAX
        } else {
            self.window.room_for(subscription)
        }
    }

    /// Something was announced that this session was not told.
    pub(super) fn read_again(&mut self) {
        self.behind = true;
        if let Some(paging) = &mut self.paging {
            paging.heard_of(MessageNumber(u64::MAX));
        }
    }

    /// What storage has accepted last, asked for without knowing where this session is (PR-14).
    ///
    /// A hint that a message was acknowledged elsewhere may be lost as well. Where something waits for room in the window,
    /// what holds it is looked for (PR-18).
    pub(super) fn compare(&mut self, last: MessageNumber) {
        if self.room() == 0 || !self.lags.is_empty() {
            self.unsure_above = Some(MessageNumber::START);
        }
        match (last.cmp(&self.cursor), &mut self.paging) {
            (Ordering::Equal, _) => {}
            // A page that is under way may have been read before that message came.
            (Ordering::Greater, Some(paging)) => paging.heard_of(last),
            (Ordering::Greater, None) => self.behind = true,
            // The queue's numbers went back (PR-7), or storage was asked before the cursor came so far. The second costs
            // one page.
            (Ordering::Less, _) => self.start_over(),
        }
    }

    /// A message was stored. Offers it if it is the next one and `open` says that the channel takes it now.
    pub(super) fn stored(
        &mut self,
        message: Arc<PushMessage>,
        previous: MessageNumber,
        open: bool,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        let (id, subscription) = (message.id, message.subscription);
        if id.number <= self.cursor {
            // A late hint, or a number that came again (PR-7). Reading once more costs little; missing a message would
            // break the promise. Who asks once would be offered everything twice.
            if !self.once && !self.window.contains(id) {
                self.start_over();
            }
            return;
        }
        if let Some(paging) = &mut self.paging {
            return paging.heard_of(id.number);
        }
        if previous < self.cursor && !self.once {
            // The queue that stored this message lacks one that the session has seen: a failover lost it (PR-7). So
            // messages before the cursor may be new.
            return self.start_over();
        }
        if self.behind || previous != self.cursor {
            self.behind = true;
            return;
        }
        if !self.wanted.covers(subscription, message.urgency) || self.lags(subscription) {
            self.cursor = id.number;
            return;
        }
        if !open || self.room() == 0 {
            self.behind = true;
            return;
        }
        self.offer_or_lag(message, now, out);
    }

    /// A message passes by, now or never. It takes no place in the window.
    pub(super) fn passing(&self, message: Arc<PushMessage>, open: bool, out: &mut Vec<Action>) {
        let heard = open && self.wanted.covers(message.subscription, message.urgency);
        out.push(if heard {
            Action::Offer(message)
        } else {
            Action::Unheard(message)
        });
    }

    /// The next page to read, if one is wanted and none is under way.
    pub(super) fn next_page(&mut self, limits: &Limits) -> Option<PageRequest> {
        if self.paging.is_some() {
            return None;
        }
        let lag = self
            .lags
            .iter()
            .position(|lag| self.room_for(lag.subscription) > 0);
        let cursor = self.behind && self.room() > 0;
        if let Some(above) = self.unsure_above.take()
            && let Some(request) = self.page_of_window(above, limits)
        {
            return Some(request);
        }
        match lag {
            Some(at) if self.lags_turn || !cursor => Some(self.page_of_lag(at, limits)),
            _ if cursor => Some(self.page_of_cursor(limits)),
            _ => None,
        }
    }

    fn page_of_cursor(&mut self, limits: &Limits) -> PageRequest {
        self.behind = false;
        self.lags_turn = true;
        self.paging = Paging::begin(PageOf::Cursor);
        let except = self.lags.iter().map(|lag| lag.subscription).collect();
        self.request(self.wanted.scope(except), self.cursor, self.room(), limits)
    }

    fn page_of_lag(&mut self, at: usize, limits: &Limits) -> PageRequest {
        let Lag { subscription, cursor } = self.lags[at];
        self.lags_turn = false;
        self.paging = Paging::begin(PageOf::Lag(subscription));
        self.request(
            Scope::These(vec![subscription]),
            cursor,
            self.room_for(subscription),
            limits,
        )
    }

    /// Whatever the filter is now: what is on the wire was offered under an earlier one, perhaps.
    fn page_of_window(&mut self, above: MessageNumber, limits: &Limits) -> Option<PageRequest> {
        let first = self.window.first_above(above)?;
        let after = MessageNumber(first.0 - 1);
        self.paging = Paging::begin(PageOf::Window(after));
        Some(PageRequest {
            after,
            scope: Scope::AllBut(Vec::new()),
            minimum: Urgency::VeryLow,
            messages: limits.page_messages,
            bytes: limits.page_bytes,
        })
    }

    fn request(&self, scope: Scope, after: MessageNumber, room: usize, limits: &Limits) -> PageRequest {
        let messages = room.min(limits.page_messages);
        PageRequest {
            after,
            scope,
            minimum: self.wanted.minimum(),
            messages,
            bytes: limits.page_bytes,
        }
    }

    /// The page that was under way.
    pub(super) fn paged(&mut self, mut page: Page, now: Moment, out: &mut Vec<Action>) {
        let Some(paging) = self.paging.take() else { return };
        page.messages.retain(|message| !paging.left.contains(&message.id));
        match paging.of {
            PageOf::Cursor => self.cursor_paged(page, now, out),
            PageOf::Lag(subscription) => self.lag_paged(subscription, page, now, out),
            PageOf::Window(after) => self.window_paged(after, &page),
        }
        self.go_on_from(&paging);
    }

    /// The page that was under way could not be read: it is wanted still.
    pub(super) fn page_failed(&mut self) {
        let Some(paging) = self.paging.take() else { return };
        self.behind |= paging.of == PageOf::Cursor;
        self.go_on_from(&paging);
    }

    /// Nothing that was heard of while a page was under way is forgotten.
    fn go_on_from(&mut self, paging: &Paging) {
        self.behind |= paging.heard_of > self.cursor;
        if paging.restart {
            self.start_over();
        }
    }

    fn cursor_paged(&mut self, page: Page, now: Moment, out: &mut Vec<Action>) {
        for message in page.messages {
            let id = message.id;
            let is_wanted = self.wanted.covers(message.subscription, message.urgency);
            if !is_wanted || self.window.contains(id) || self.lags(message.subscription) {
                self.cursor = self.cursor.max(id.number);
            } else if self.room() == 0 {
                self.behind = true;
                return;
            } else {
                self.offer_or_lag(message, now, out);
            }
        }
        self.cursor = self.cursor.max(page.upto);
        self.behind |= page.more;
    }

    fn lag_paged(&mut self, subscription: SubscriptionId, page: Page, now: Moment, out: &mut Vec<Action>) {
        let Some(at) = self.lags.iter().position(|lag| lag.subscription == subscription) else {
            return;
        };
        for message in page.messages {
            if self.room_for(subscription) == 0 {
                return;
            }
            self.lags[at].cursor = message.id.number;
            if self.wanted.covers(subscription, message.urgency) && !self.window.contains(message.id) {
                self.offer(message, now, out);
            }
        }
        self.lags[at].cursor = self.lags[at].cursor.max(page.upto);
        match page.upto.cmp(&self.cursor) {
            // Level: the cursor goes on for both.
            Ordering::Equal if !page.more => drop(self.lags.swap_remove(at)),
            // Ahead: the cursor has to come by first, or it would offer the same again.
            Ordering::Greater => self.behind = true,
            // The queue ends before the cursor: its numbers went back, or the user agent's record is gone. Whatever comes
            // next is below the cursor, and that begins anew (PR-7).
            Ordering::Less if !page.more => drop(self.lags.swap_remove(at)),
            Ordering::Equal | Ordering::Less => {}
        }
    }

    /// What is on the wire and not in this piece of the queue has left. All of it had been offered, and so stored, before the
    /// page was asked for.
    fn window_paged(&mut self, after: MessageNumber, page: &Page) {
        let upto = if page.more {
            page.upto
        } else {
            MessageNumber(u64::MAX)
        };
        self.window.retain(|id| {
            let is_told = after < id.number && id.number <= upto;
            !is_told || page.messages.iter().any(|message| message.id == id)
        });
        self.unsure_above = page.more.then_some(page.upto);
    }

    /// The message follows the cursor and there is room in the window; in its subscription's half there may be none.
    fn offer_or_lag(&mut self, message: Arc<PushMessage>, now: Moment, out: &mut Vec<Action>) {
        let (number, subscription) = (message.id.number, message.subscription);
        if self.room_for(subscription) == 0 {
            self.lags.push(Lag {
                subscription,
                cursor: MessageNumber(number.0 - 1),
            });
        } else {
            self.offer(message, now, out);
        }
        self.cursor = number;
    }

    fn offer(&mut self, message: Arc<PushMessage>, now: Moment, out: &mut Vec<Action>) {
        if !self.once {
            self.window.offer(message.id, message.subscription, now);
        }
        out.push(Action::Offer(message));
    }

    fn lags(&self, subscription: SubscriptionId) -> bool {
        self.lags.iter().any(|lag| lag.subscription == subscription)
    }

    /// Reads from the start, skipping what is on the wire (PR-7, PR-22).
    fn start_over(&mut self) {
        if let Some(paging) = &mut self.paging {
            paging.restart = true;
            return;
        }
        self.cursor = MessageNumber::START;
        self.lags = Vec::new();
        self.behind = true;
    }

    /// A message leaves the delivery window: acknowledged, or gone from storage. Returns whether it was in it.
    pub(super) fn left(&mut self, id: MessageId) -> bool {
        let was_there = self.window.remove(id);
        if let Some(paging) = self.paging.as_mut().filter(|_| was_there) {
            paging.left.push(id);
        }
        was_there
    }
}
