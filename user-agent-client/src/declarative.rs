//! Messages that are notifications: Declarative Web Push.
//!
//! Such a message says itself what to show and where a click leads, so that no code of the application has to run for it.
//! It is known by its content, not by a header. What isn't one is an ordinary message, never an error for its user: a
//! [`DeclarativeError`] is for the author of the sender.
//!
//! Knows no screen: what a platform can't show, it leaves out. Sources: the Push API, §"Declarative push message",
//! and the Notifications Standard, in the rules that the tests name (DWP, NTF).

// NTF-13.

use std::fmt;

use serde_json::{Map, Value};
use url::Url;

/// What `web_push` has to be: the number of the RFC.
const WEB_PUSH: u64 = 8030;

/// Actions that are kept; further ones are dropped. Chosen: browsers show two or three, desktops few more.
// NTF-5.
pub const MAX_ACTIONS: usize = 8;

/// A message that is a notification.
#[derive(Clone, PartialEq, Debug)]
pub struct Declarative {
    /// What to show.
    pub notification: Notification,
    /// The application may show another one instead, if it is there.
    // DWP-8.
    pub mutable: bool,
    /// The number on the application's icon, if the message sets it.
    // DWP-11.
    pub app_badge: Option<u64>,
}

/// A notification as the Notifications Standard knows it. What the message doesn't say has the standard's default.
// NTF-1.
#[derive(Clone, PartialEq, Debug)]
pub struct Notification {
    /// The headline.
    pub title: String,
    /// Where a click leads.
    // DWP-10.
    pub navigate: Url,
    /// The text below the headline; may be empty.
    pub body: String,
    /// A shown notification with the same tag is replaced, unless the tag is empty.
    // NTF-8.
    pub tag: String,
    /// The language as BCP 47 names it; empty if it isn't said.
    pub lang: String,
    /// Where lines begin.
    pub dir: Direction,
    /// Without sound, or expressly with; `None` as the platform likes it.
    pub silent: Option<bool>,
    /// A picture beside the text.
    pub icon: Option<Url>,
    /// A picture where there is no room for the text.
    pub badge: Option<Url>,
    /// A picture as content.
    pub image: Option<Url>,
    /// Milliseconds of vibration and stillness in turn.
    pub vibrate: Option<Vec<u64>>,
    /// Milliseconds since 1970 to which it refers; `None` for now.
    pub timestamp: Option<u64>,
    /// Tell the user again when it replaces another one.
    pub renotify: bool,
    /// Stay until the user acts.
    pub require_interaction: bool,
    /// Whatever the application wants to find again.
    pub data: Value,
    /// What the user may choose, at most [`MAX_ACTIONS`].
    pub actions: Vec<NotificationAction>,
}

impl Notification {
    /// Where a click leads: to the chosen action's URL, or for the notification itself to its own.
    // DWP-10, NTF-10.
    pub fn destination(&self, action: &str) -> &Url {
        let chosen = self.actions.iter().find(|choice| choice.action == action);
        chosen.map_or(&self.navigate, |choice| &choice.navigate)
    }
}

/// Something that the user may choose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotificationAction {
    /// Its name.
    pub action: String,
    /// What the user reads.
    pub title: String,
    /// Where it leads: there, and not to the notification's own URL.
    // NTF-10.
    pub navigate: Url,
    /// A picture.
    pub icon: Option<Url>,
}

/// Where lines begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// As the text suggests.
    #[default]
    Auto,
    /// At the left.
    LeftToRight,
    /// At the right.
    RightToLeft,
}

/// Why a message that says it is declarative is not: it is an ordinary message.
// DWP-2 to DWP-6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeclarativeError {
    /// There is no `notification` object.
    NoNotification,
    /// This member is missing, or no string.
    Missing(&'static str),
    /// This member is no URL.
    NotAUrl(&'static str),
    /// `silent` and `vibrate` exclude each other.
    // NTF-2.
    SilentVibration,
    /// `renotify` needs a `tag`.
    // NTF-3.
    RenotifyWithoutTag,
}

impl Declarative {
    /// Reads a message. `None` if it doesn't claim to be declarative. Relative URLs count from `base`; without it
    /// they are not valid.
    ///
    /// # Errors
    ///
    /// It claims to be declarative and is not.
    // DWP-1.
    pub fn parse(text: &str, base: Option<&Url>) -> Option<Result<Self, DeclarativeError>> {
        let message: Value = serde_json::from_str(text).ok()?;
        let message = message.as_object()?;
        is_declarative(message).then(|| read(message, base))
    }
}

/// DWP-1: an integer, however it is written: JSON knows one kind of number.
fn is_declarative(message: &Map<String, Value>) -> bool {
    let number = message.get("web_push");
    number.is_some_and(|number| number.as_u64() == Some(WEB_PUSH) || number.as_f64() == Some(WEB_PUSH as f64))
}

fn read(message: &Map<String, Value>, base: Option<&Url>) -> Result<Declarative, DeclarativeError> {
    let declared = message
        .get("notification")
        .and_then(Value::as_object)
        .ok_or(DeclarativeError::NoNotification)?;
    let notification = notification(&Members { declared, base })?;
    // DWP-7: the specification has it outside, Firefox reads it inside. DWP-11: the same of the badge.
    let places = [message, declared];
    Ok(Declarative {
        notification,
        mutable: places
            .iter()
            .any(|place| place.get("mutable") == Some(&Value::Bool(true))),
        app_badge: places.iter().find_map(|place| place.get("app_badge")?.as_u64()),
    })
}

fn notification(members: &Members<'_>) -> Result<Notification, DeclarativeError> {
    let notification = Notification {
        title: members.required("title")?,
        navigate: members.required_url("navigate")?,
        body: members.text("body"),
        tag: members.text("tag"),
        lang: members.text("lang"),
        dir: direction(&members.text("dir")),
        silent: members.get("silent").and_then(Value::as_bool),
        icon: members.url("icon"),
        badge: members.url("badge"),
        image: members.url("image"),
        vibrate: members.get("vibrate").and_then(pattern),
        timestamp: members.get("timestamp").and_then(Value::as_u64),
        renotify: members.is_set("renotify"),
        require_interaction: members.is_set("requireInteraction"),
        data: members.get("data").cloned().unwrap_or_default(),
        actions: members.actions()?,
    };
    if notification.silent == Some(true) && notification.vibrate.is_some() {
        return Err(DeclarativeError::SilentVibration);
    }
    if notification.renotify && notification.tag.is_empty() {
        return Err(DeclarativeError::RenotifyWithoutTag);
    }
    Ok(notification)
}

/// The members of an object. Optional ones of a wrong type are as if they weren't there.
// DWP-4.
struct Members<'a> {
    declared: &'a Map<String, Value>,
    base: Option<&'a Url>,
}

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.declared.get(name)
    }

    fn text(&self, name: &str) -> String {
        self.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    fn is_set(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn url(&self, name: &str) -> Option<Url> {
        self.resolve(self.get(name)?.as_str()?)
    }

    fn required(&self, name: &'static str) -> Result<String, DeclarativeError> {
        let text = self.get(name).and_then(Value::as_str);
        text.map(str::to_owned).ok_or(DeclarativeError::Missing(name))
    }

    fn required_url(&self, name: &'static str) -> Result<Url, DeclarativeError> {
        let text = self.required(name)?;
        self.resolve(&text).ok_or(DeclarativeError::NotAUrl(name))
    }

    fn resolve(&self, text: &str) -> Option<Url> {
        Url::options().base_url(self.base).parse(text).ok()
    }

    /// DWP-5: an action that lacks a member is left out, as one that can't be shown; one whose URL is none fails the
    /// message.
    fn actions(&self) -> Result<Vec<NotificationAction>, DeclarativeError> {
        let listed = self.get("actions").and_then(Value::as_array);
        let mut actions = Vec::new();
        for declared in listed.into_iter().flatten().filter_map(Value::as_object) {
            let members = Members { declared, ..*self };
            match members.action() {
                Ok(action) if actions.len() < MAX_ACTIONS => actions.push(action),
                Err(error @ DeclarativeError::NotAUrl(_)) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(actions)
    }

    fn action(&self) -> Result<NotificationAction, DeclarativeError> {
        Ok(NotificationAction {
            action: self.required("action")?,
            title: self.required("title")?,
            navigate: self.required_url("navigate")?,
            icon: self.url("icon"),
        })
    }
}

fn direction(name: &str) -> Direction {
    match name {
        "ltr" => Direction::LeftToRight,
        "rtl" => Direction::RightToLeft,
        _ => Direction::Auto,
    }
}

/// One duration, or a list of them.
fn pattern(value: &Value) -> Option<Vec<u64>> {
    match value {
        Value::Array(durations) => durations.iter().map(Value::as_u64).collect(),
        one => one.as_u64().map(|duration| vec![duration]),
    }
}

impl fmt::Display for DeclarativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNotification => f.write_str("notification is missing, or no object"),
            Self::Missing(name) => write!(f, "{name} is missing, or no string"),
            Self::NotAUrl(name) => write!(f, "{name} is no URL; write it with https://"),
            Self::SilentVibration => f.write_str("silent and vibrate exclude each other"),
            Self::RenotifyWithoutTag => f.write_str("renotify needs a tag that is not empty"),
        }
    }
}

impl std::error::Error for DeclarativeError {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The least that is a declarative message, with `changes` in its notification.
    fn message(changes: &Value) -> Value {
        let mut message = json!({
            "web_push": 8030,
            "notification": {"title": "Hello", "navigate": "https://example.com/a"},
        });
        for (name, value) in changes.as_object().unwrap() {
            message["notification"][name] = value.clone();
        }
        message
    }

    fn parse(message: &Value) -> Option<Result<Declarative, DeclarativeError>> {
        Declarative::parse(&message.to_string(), None)
    }

    fn read(changes: &Value) -> Result<Notification, DeclarativeError> {
        parse(&message(changes))
            .unwrap()
            .map(|declarative| declarative.notification)
    }

    /// DWP-1: a JSON object whose `web_push` is the number 8030; everything else is an ordinary message.
    #[test]
    fn a_declarative_message_says_so() {
        for web_push in ["8030", "8030.0"] {
            let text = message(&json!({})).to_string().replace("8030", web_push);
            assert!(Declarative::parse(&text, None).unwrap().is_ok(), "{web_push}");
        }
        let rows = [
            "",
            "Hello",
            "8030",
            "null",
            "[]",
            "{}",
            r#"{"web_push":"8030"}"#,
            r#"{"web_push":8031}"#,
            r#"{"web_push":true}"#,
            r#"{"web_push":8030"#,
            r#"{"web_push":8030} and more"#,
        ];
        for text in rows {
            assert_eq!(Declarative::parse(text, None), None, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Declarative::parse(&deep, None), None);
    }

    /// DWP-2, DWP-3: the notification needs a title and a URL to go to.
    #[test]
    fn title_and_navigate_are_required() {
        use DeclarativeError::{Missing, NoNotification, NotAUrl};
        let rows = [
            (json!({"web_push": 8030}), NoNotification),
            (json!({"web_push": 8030, "notification": "Hello"}), NoNotification),
            (json!({"web_push": 8030, "notification": {}}), Missing("title")),
            (message(&json!({"title": 1})), Missing("title")),
            (message(&json!({"navigate": null})), Missing("navigate")),
            (message(&json!({"navigate": "/a"})), NotAUrl("navigate")),
            (message(&json!({"navigate": "https://"})), NotAUrl("navigate")),
        ];
        for (message, error) in rows {
            assert_eq!(parse(&message), Some(Err(error)), "{message}");
        }
    }

    /// DWP-3: URLs count from the base, if there is one.
    #[test]
    fn urls_count_from_the_base() {
        let base = Url::parse("https://example.com/app/").unwrap();
        let text = message(&json!({"navigate": "inbox?a=1", "icon": "/icon.png"})).to_string();
        let notification = Declarative::parse(&text, Some(&base))
            .unwrap()
            .unwrap()
            .notification;
        assert_eq!(
            notification.navigate.as_str(),
            "https://example.com/app/inbox?a=1"
        );
        assert_eq!(
            notification.icon.unwrap().as_str(),
            "https://example.com/icon.png"
        );
    }

    /// NTF-1: what isn't said has the standard's default.
    #[test]
    fn members_have_defaults() {
        let expected = Notification {
            title: "Hello".into(),
            navigate: Url::parse("https://example.com/a").unwrap(),
            body: String::new(),
            tag: String::new(),
            lang: String::new(),
            dir: Direction::Auto,
            silent: None,
            icon: None,
            badge: None,
            image: None,
            vibrate: None,
            timestamp: None,
            renotify: false,
            require_interaction: false,
            data: Value::Null,
            actions: Vec::new(),
        };
        assert_eq!(read(&json!({})), Ok(expected));
    }

    /// NTF-1, NTF-4, DWP-12: every member is read, those too that some browsers ignore.
    #[test]
    fn members_are_read() {
        let notification = read(&json!({
            "body": "b", "tag": "t", "lang": "de", "dir": "rtl", "silent": false, "icon": "https://a.example/i",
            "badge": "https://a.example/b", "image": "https://a.example/m", "vibrate": [100, 50], "timestamp": 7,
            "renotify": true, "requireInteraction": true, "data": {"a": [1]},
            "actions": [{"action": "x", "title": "X", "navigate": "https://a.example/x", "icon": "https://a.example/j"}],
        }))
        .unwrap();
        assert_eq!(
            (
                notification.body.as_str(),
                notification.tag.as_str(),
                notification.lang.as_str()
            ),
            ("b", "t", "de")
        );
        assert_eq!(notification.dir, Direction::RightToLeft);
        assert_eq!(notification.silent, Some(false));
        let url = |path| Some(Url::parse(&format!("https://a.example/{path}")).unwrap());
        assert_eq!(
            (notification.icon, notification.badge, notification.image),
            (url("i"), url("b"), url("m"))
        );
        assert_eq!(notification.vibrate, Some(vec![100, 50]));
        assert_eq!(notification.timestamp, Some(7));
        assert!(notification.renotify && notification.require_interaction);
        assert_eq!(notification.data, json!({"a": [1]}));
        let action = NotificationAction {
            action: "x".into(),
            title: "X".into(),
            navigate: url("x").unwrap(),
            icon: url("j"),
        };
        assert_eq!(notification.actions, [action]);
    }

    /// DWP-4: an optional member of a wrong type, or a picture whose URL is none, is as if it weren't there.
    #[test]
    fn members_of_a_wrong_type_are_ignored() {
        let changes = json!({
            "body": 1, "tag": [], "lang": {}, "dir": "up", "silent": "yes", "icon": "no url", "badge": 1, "image": null,
            "vibrate": ["a"], "timestamp": -1, "renotify": 1, "requireInteraction": "true", "actions": {}, "unknown": 1,
        });
        assert_eq!(read(&changes), read(&json!({})));
    }

    /// DWP-5: an action without its members is left out, one whose URL is none fails the message.
    #[test]
    fn actions_are_complete_or_not_there() {
        let good = json!({"action": "a", "title": "A", "navigate": "https://a.example/"});
        let actions = json!([good, {"action": "b", "title": "B"}, {"title": "C"}, "d", 5]);
        assert_eq!(read(&json!({"actions": actions})).unwrap().actions.len(), 1);
        let bad = json!([good, {"action": "b", "title": "B", "navigate": "//"}]);
        assert_eq!(
            read(&json!({"actions": bad})),
            Err(DeclarativeError::NotAUrl("navigate"))
        );
    }

    /// NTF-5: actions have a bound.
    #[test]
    fn actions_have_a_bound() {
        let good = json!({"action": "a", "title": "A", "navigate": "https://a.example/"});
        let notification = read(&json!({"actions": vec![good; MAX_ACTIONS + 1]})).unwrap();
        assert_eq!(notification.actions.len(), MAX_ACTIONS);
    }

    /// DWP-6, NTF-2, NTF-3: what the standard forbids fails.
    #[test]
    fn contradictions_fail() {
        use DeclarativeError::{RenotifyWithoutTag, SilentVibration};
        let rows = [
            (json!({"silent": true, "vibrate": [1]}), Err(SilentVibration)),
            (json!({"silent": true, "vibrate": 1}), Err(SilentVibration)),
            (json!({"silent": false, "vibrate": [1]}), Ok(())),
            (json!({"renotify": true}), Err(RenotifyWithoutTag)),
            (json!({"renotify": true, "tag": ""}), Err(RenotifyWithoutTag)),
            (json!({"renotify": true, "tag": "t"}), Ok(())),
        ];
        for (changes, expected) in rows {
            assert_eq!(read(&changes).map(drop), expected, "{changes}");
        }
    }

    /// DWP-7, DWP-8, DWP-9: `mutable` counts outside and inside of the notification, and only if it is true.
    #[test]
    fn mutable_counts_in_both_places() {
        let rows = [
            (json!(null), json!(null), false),
            (json!(true), json!(null), true),
            (json!(null), json!(true), true),
            (json!(false), json!(true), true),
            (json!(1), json!("true"), false),
        ];
        for (outside, inside, expected) in rows {
            let mut message = message(&json!({"mutable": inside}));
            message["mutable"] = outside;
            assert_eq!(parse(&message).unwrap().unwrap().mutable, expected, "{message}");
        }
    }

    /// DWP-11: a badge number is shown to the application, and never fails a message.
    #[test]
    fn a_badge_number_is_optional() {
        let rows = [
            (json!(3), Some(3)),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!(-1), None),
            (json!("3"), None),
            (json!(null), None),
        ];
        for (badge, expected) in rows {
            let mut outside = message(&json!({}));
            outside["app_badge"] = badge.clone();
            assert_eq!(parse(&outside).unwrap().unwrap().app_badge, expected, "{badge}");
            let inside = message(&json!({"app_badge": badge}));
            assert_eq!(parse(&inside).unwrap().unwrap().app_badge, expected, "{badge}");
        }
    }

    /// DWP-10: where a click leads is the notification's URL, or that of the chosen action.
    #[test]
    fn a_click_leads_to_the_choice() {
        let actions = json!([{"action": "a", "title": "A", "navigate": "https://a.example/"}]);
        let notification = read(&json!({"actions": actions})).unwrap();
        assert_eq!(notification.destination("a").as_str(), "https://a.example/");
        for elsewhere in ["", "default", "unknown"] {
            assert_eq!(
                notification.destination(elsewhere),
                &notification.navigate,
                "{elsewhere}"
            );
        }
    }
}
