//! Messages on the desktop (org.freedesktop.Notifications).
//!
//! Messages come from others: text is shown without markup, only web pages are opened, and pictures are not fetched, because
//! that would tell their host when the message was seen. What a desktop can't show is left out (NTF-13).

use std::sync::Arc;
use std::time::Duration;

use notify_rust::{Hint, Notification, NotificationHandle, NotificationResponse, Timeout, Urgency};
use push_protocol::escape;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;
use user_agent_client::declarative::Declarative;
use user_agent_client::message::Data;

use super::delivery::{Delivery, NotHandled};
use crate::cli::console::say;

/// Characters of a title and of a text. Chosen: more than any desktop shows; the rest of a long message is not for a bubble.
const TITLE_CHARACTERS: usize = 200;
const BODY_CHARACTERS: usize = 1_000;
/// How long the desktop may take. Chosen: it shows a notification at once, or hangs.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// Shown notifications whose click is waited for; each has a connection to the bus. Chosen: more than a person looks at.
const CLICKS: usize = 16;
/// How long a click is waited for. Chosen: people do not click after a day.
const CLICK_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// The desktop.
#[derive(Debug)]
pub(super) struct Notifier {
    clicks: Arc<Semaphore>,
    /// One question whether it is there.
    asking: Arc<Semaphore>,
}

impl Default for Notifier {
    fn default() -> Self {
        Self {
            clicks: Arc::new(Semaphore::new(CLICKS)),
            asking: Arc::new(Semaphore::new(1)),
        }
    }
}

/// What is shown, and where clicks lead.
#[derive(PartialEq, Eq, Debug, Default)]
struct Shown {
    title: String,
    body: String,
    /// Name, label and destination of each choice; the notification itself has the name `default`.
    choices: Vec<(String, String, Url)>,
    is_silent: bool,
    stays: bool,
}

impl Notifier {
    /// Shows a message. It is done when the desktop has taken it, not when a person has seen it.
    pub(super) async fn show(&self, delivery: &Delivery) -> Result<(), NotHandled> {
        let shown = Shown::of(delivery);
        let notification = shown.notification();
        let why = match timeout(SHOWN_WITHIN, notification.show_async()).await {
            Ok(Ok(handle)) => {
                if !shown.choices.is_empty() {
                    self.wait_for_click(handle, shown.choices);
                }
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", SHOWN_WITHIN.as_secs()),
        };
        // Many errors say neither: so the desktop is asked for something that has nothing to do with the message.
        let is_there = !is_full(&why) && self.desktop_answers().await;
        Err(not_handled(&why, is_there))
    }

    /// Whether there is a session bus, with a notification service that answers.
    async fn desktop_answers(&self) -> bool {
        // It blocks, for as long as the desktop hangs. While one question does, another one would not be answered either.
        let Ok(permit) = Arc::clone(&self.asking).try_acquire_owned() else {
            return false;
        };
        let asking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            notify_rust::get_server_information().is_ok()
        });
        matches!(timeout(SHOWN_WITHIN, asking).await, Ok(Ok(true)))
    }

    /// Beyond the bound nothing is waited for: the notification is shown, and a click on it does nothing.
    fn wait_for_click(&self, handle: NotificationHandle, choices: Vec<(String, String, Url)>) {
        let Ok(permit) = Arc::clone(&self.clicks).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let mut chosen = None;
            let click = handle.wait_for_action_async(|response| chosen = name_of(response));
            let _ = timeout(CLICK_WITHIN, click).await;
            drop(permit);
            let destination = chosen.and_then(|name| choices.into_iter().find(|choice| choice.0 == name));
            if let Some((_, _, url)) = destination {
                open(&url);
            }
        });
    }
}

impl Shown {
    fn of(delivery: &Delivery) -> Self {
        let text = delivery.data.as_ref().map_or_else(String::new, Data::text);
        match Declarative::parse(&text, None) {
            Some(Ok(declarative)) => Self::declared(&declarative.notification),
            // What only claims to be declarative is an ordinary message (DWP-2).
            Some(Err(_)) | None => Self {
                title: cut(&delivery.subscription, TITLE_CHARACTERS),
                body: cut(&text, BODY_CHARACTERS),
                ..Self::default()
            },
        }
    }

    fn declared(notification: &user_agent_client::declarative::Notification) -> Self {
        let itself = ("default".to_owned(), String::new(), notification.navigate.clone());
        let actions = notification.actions.iter().enumerate();
        // Names of our own: theirs could be `default`.
        let actions = actions.map(|(number, action)| {
            let label = cut(&action.title, TITLE_CHARACTERS);
            (number.to_string(), label, action.navigate.clone())
        });
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https");
        Self {
            title: cut(&notification.title, TITLE_CHARACTERS),
            body: cut(&notification.body, BODY_CHARACTERS),
            choices: std::iter::once(itself)
                .chain(actions)
                .filter(|choice| is_web(&choice.2))
                .collect(),
            is_silent: notification.silent == Some(true),
            stays: notification.require_interaction,
        }
    }

    fn notification(&self) -> Notification {
        let mut notification = Notification::new();
        notification
            .appname("user-agent-client")
            .summary(&self.title)
            .body(&by_the_letter(&self.body));
        for (name, label, _) in &self.choices {
            notification.action(name, label);
        }
        if self.is_silent {
            notification.hint(Hint::SuppressSound(true));
        }
        if self.stays {
            notification.urgency(Urgency::Critical).timeout(Timeout::Never);
        }
        notification
    }
}

/// Which choice was made, if one was.
fn name_of(response: &NotificationResponse) -> Option<String> {
    match response {
        NotificationResponse::Default => Some("default".to_owned()),
        NotificationResponse::Action(name) => Some(name.clone()),
        _ => None,
    }
}

/// Opens a web page in the user's browser, and does not wait for it.
fn open(url: &Url) {
    let opened = tokio::process::Command::new("xdg-open").arg(url.as_str()).spawn();
    if let Err(error) = opened {
        say(format_args!("the page cannot be opened with xdg-open: {error}"));
    }
}

/// What an error means for the message: a desktop that is there has refused this one.
fn not_handled(why: &str, is_there: bool) -> NotHandled {
    if is_there {
        return NotHandled::Failed(format!("the desktop did not show the message ({why})"));
    }
    NotHandled::Unable(format!(
        "there is no desktop to show the message on ({why}); --notify needs a session bus with a \
         notification service"
    ))
}

/// Whether the desktop takes no more for now, whatever is in it.
fn is_full(why: &str) -> bool {
    /// Errors of D-Bus, and of the notification services of GNOME and Xfce.
    const FULL: [&str; 3] = ["LimitsExceeded", "ExcessNotificationGeneration", "NoMemory"];
    FULL.iter().any(|name| why.contains(name))
}

/// The body of a notification may be markup, so characters of markup are escaped.
fn by_the_letter(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The first characters, without those that a desktop obeys or stumbles over. It is no terminal, so they need no number.
fn cut(text: &str, characters: usize) -> String {
    let is_shown = |c: &char| !escape::is_hazardous(*c) || *c == '\n';
    let mut shown: String = text.chars().filter(is_shown).take(characters + 1).collect();
    if let Some((end, _)) = shown.char_indices().nth(characters) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data: Option<&str>) -> Shown {
        Shown::of(&Delivery::example("door", data.map(Data::new)))
    }

    /// An ordinary message is shown unchanged, under the name of its subscription.
    #[test]
    fn a_message_is_shown_under_its_subscription() {
        let rows = [
            (Some("<b>hi</b> & bye\n\u{1b}x\u{202e}y"), "<b>hi</b> & bye\nxy"),
            (Some(""), ""),
            (None, ""),
            (Some(r#"{"web_push":8030}"#), r#"{"web_push":8030}"#),
        ];
        for (data, body) in rows {
            let shown = shown(data);
            assert_eq!((shown.title.as_str(), shown.body.as_str()), ("door", body));
            assert!(shown.choices.is_empty());
        }
        assert_eq!(by_the_letter("<b>&"), "&lt;b&gt;&amp;");
        assert_eq!(
            shown(Some(&"ä".repeat(5000))).body.chars().count(),
            BODY_CHARACTERS + 1
        );
    }

    /// PR-45: a message fails only on a desktop that is there and takes others; one that takes none for now is no failure.
    #[test]
    fn a_missing_desktop_is_no_failure() {
        let invalid = "org.freedesktop.DBus.Error.InvalidArgs: body";
        assert!(matches!(not_handled(invalid, true), NotHandled::Failed(_)));
        assert!(matches!(not_handled(invalid, false), NotHandled::Unable(_)));
        assert!(!is_full(invalid));
        assert!(is_full(
            "org.freedesktop.Notifications.Error.ExcessNotificationGeneration: too many"
        ));
    }

    /// DWP-9, DWP-10: a declarative message says itself what to show and where clicks lead; only web pages are opened.
    #[test]
    fn a_declarative_message_says_what_to_show() {
        let message = serde_json::json!({
            "web_push": 8030,
            "notification": {
                "title": "Somebody is at the door", "body": "Open?", "navigate": "https://a.example/",
                "requireInteraction": true, "silent": true,
                "actions": [
                    {"action": "default", "title": "Yes", "navigate": "https://a.example/yes"},
                    {"action": "x", "title": "No", "navigate": "file:///etc/passwd"},
                ],
            },
        });
        let shown = shown(Some(&message.to_string()));
        assert_eq!(shown.title, "Somebody is at the door");
        assert_eq!(shown.body, "Open?");
        assert!(shown.is_silent && shown.stays);
        let choices: Vec<_> = shown
            .choices
            .iter()
            .map(|(name, label, url)| (name.as_str(), label.as_str(), url.as_str()))
            .collect();
        let expected = [
            ("default", "", "https://a.example/"),
            ("0", "Yes", "https://a.example/yes"),
        ];
        assert_eq!(choices, expected);
    }
}
