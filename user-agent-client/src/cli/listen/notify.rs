//! Messages on the desktop (org.freedesktop.Notifications).
//!
//! Messages are written by others: text is shown by the letter, only web pages are opened, and no picture is fetched, which
//! would tell its host when the message was seen. What a desktop has no counterpart for is left out (NTF-13).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use notify_rust::{Hint, Notification, NotificationHandle, NotificationResponse, Timeout, Urgency};
use tokio::sync::Semaphore;
use url::Url;
use user_agent_client::declarative::Declarative;
use user_agent_client::message::Data;

use super::handler::Delivery;
use crate::cli::console::say;

/// Characters of a title and of a text. Chosen: more than any desktop shows; the rest of a long message is not for a bubble.
const TITLE_CHARACTERS: usize = 200;
const BODY_CHARACTERS: usize = 1_000;
/// How long the desktop may take. Chosen: it shows a notification at once, or hangs.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// Shown notifications whose click is waited for; each has a connection to the bus. Chosen: nobody looks at more.
const CLICKS: usize = 16;
/// How long a click is waited for. Chosen: after a day, nobody clicks.
const CLICK_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// The desktop.
#[derive(Debug)]
pub(super) struct Notifier {
    clicks: Arc<Semaphore>,
}

impl Default for Notifier {
    fn default() -> Self {
        Self {
            clicks: Arc::new(Semaphore::new(CLICKS)),
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
    /// Shows a message. It is done when the desktop has taken it, not when somebody has seen it.
    pub(super) async fn show(&self, delivery: &Delivery) -> Result<(), String> {
        let shown = Shown::of(delivery);
        let notification = shown.notification();
        let handle = tokio::time::timeout(SHOWN_WITHIN, notification.show_async())
            .await
            .map_err(|_| "the desktop does not answer".to_owned())?
            .map_err(|error| no_desktop(&error))?;
        if !shown.choices.is_empty() {
            self.wait_for_click(handle, shown.choices);
        }
        Ok(())
    }

    /// Beyond the bound nothing is waited for: the notification is shown, and a click on it does nothing.
    fn wait_for_click(&self, handle: NotificationHandle, choices: Vec<(String, String, Url)>) {
        let Ok(permit) = Arc::clone(&self.clicks).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let mut chosen = None;
            let click = handle.wait_for_action_async(|response| chosen = name_of(response));
            let _ = tokio::time::timeout(CLICK_WITHIN, click).await;
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

/// Opens a web page as the user likes it. Nobody waits for it.
fn open(url: &Url) {
    let opened = tokio::process::Command::new("xdg-open").arg(url.as_str()).spawn();
    if let Err(error) = opened {
        say(format_args!("the page can't be opened with xdg-open: {error}"));
    }
}

fn no_desktop(error: &dyn fmt::Display) -> String {
    format!(
        "there is no desktop to show it on ({error}); --notify needs a session bus with a notification service"
    )
}

/// The body of a notification may be markup; this is none.
fn by_the_letter(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The first characters, without those that D-Bus and desktops stumble over.
fn cut(text: &str, characters: usize) -> String {
    let is_shown = |c: &char| !c.is_control() || *c == '\n';
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
        Shown::of(&Delivery {
            subscription: "door".into(),
            id: "1".into(),
            attempt: 1,
            data: data.map(Data::new),
        })
    }

    /// An ordinary message is shown by the letter, under the name of its subscription.
    #[test]
    fn a_message_is_shown_under_its_subscription() {
        let rows = [
            (Some("<b>hi</b> & bye\n\u{1b}x"), "<b>hi</b> & bye\nx"),
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
