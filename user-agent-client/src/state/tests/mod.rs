//! What is kept, in the best of worlds. [`damage`] and [`failures`] are about the others.

mod damage;
mod failures;
mod messages;
mod transport;

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_protocol::session::user_agent::{
    Identity, MessageKey, Messages, PushResource, SubscriptionResource,
};
use push_protocol::vapid::PublicKey;
use tempfile::TempDir;

use super::*;
use crate::defaults::{LABEL_CHARACTERS, MESSAGE_RECORDS, SERVER_URL_BYTES, STATE_BYTES};

/// A directory and what is kept in it.
struct Rig {
    directory: TempDir,
    state: State,
}

impl Rig {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let state = State::open(directory.path()).unwrap();
        Self { directory, state }
    }

    /// As after the death of the process.
    fn reopen(&mut self) {
        self.state = State::in_memory();
        self.state = State::open(self.directory.path()).unwrap();
    }

    fn save(&mut self, change: &Change) {
        self.state.save(change).unwrap();
    }

    fn ask(&mut self, label: &str) -> SubscriptionName {
        let name = self.state.prepare(label).unwrap();
        self.save(&asked(name));
        name
    }

    /// A subscription that the service has confirmed.
    fn subscribe(&mut self, label: &str) -> SubscriptionName {
        let name = self.ask(label);
        self.save(&confirmed(name, &format!("https://push.example.net/{label}")));
        name
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn holds(&self, text: &str) -> bool {
        fs::read_dir(self.directory.path()).unwrap().any(|file| {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            String::from_utf8_lossy(&bytes).contains(text)
        })
    }
}

fn asked(name: SubscriptionName) -> Change {
    Change::Asked {
        name,
        application_server: None,
    }
}

fn confirmed(name: SubscriptionName, url: &str) -> Change {
    Change::Confirmed {
        name,
        push_resource: PushResource::parse(url).unwrap(),
    }
}

fn located(name: SubscriptionName, url: &str) -> Change {
    Change::ResourceGiven {
        name,
        resource: SubscriptionResource::parse(url).unwrap(),
    }
}

fn identified(text: &str) -> Change {
    Change::Identified(Identity::parse(text).unwrap())
}

fn message(number: usize) -> MessageKey {
    MessageKey::of("news", &number.to_string())
}

fn attempt(number: usize, count: u32) -> Change {
    Change::Attempt {
        message: message(number),
        count,
    }
}

fn private_key(state: &State, name: SubscriptionName) -> [u8; 32] {
    *state.keys(name).unwrap().private_key()
}

fn server(url: &str) -> ServerUrl {
    ServerUrl::parse(url).unwrap()
}

/// The file of certificates is remembered by its absolute path, in a format of its own; a state without one has the format
/// that earlier versions read.
#[test]
fn certificates_are_remembered() {
    let mut rig = Rig::new();
    rig.subscribe("door");
    assert!(rig.holds("\"format\":1,") && !rig.holds("certificates"));
    for file in ["ca.pem", "/etc/ssl/ca \"1\".pem"] {
        rig.state.set_certificates(Path::new(file)).unwrap();
        rig.reopen();
        let absolute = std::env::current_dir().unwrap().join(file);
        assert_eq!(rig.state.certificates(), Some(&*absolute));
        assert!(rig.holds("\"format\":3,"));
        assert!(rig.state.subscription("door").is_some());
    }
    let not_text = std::os::unix::ffi::OsStrExt::from_bytes(b"/\xff.pem");
    let refused = rig.state.set_certificates(Path::new::<std::ffi::OsStr>(not_text));
    assert!(matches!(refused, Err(StateError::NotText(_))));
}

/// All there is, in a form that compares.
fn all_of(state: &State) -> impl PartialEq + std::fmt::Debug + use<> {
    let entries = state.kept.entries.iter().map(|(name, entry)| {
        let secrets = (*entry.keys.private_key(), *entry.keys.authentication_secret());
        (*name, entry.label.clone(), secrets, entry.created)
    });
    let entries = entries.collect::<Vec<_>>();
    (state.server().cloned(), state.durable().clone(), entries)
}

/// PR-1: every kind of change is there after the process is gone, with labels and keys.
#[test]
fn every_change_survives() {
    let mut rig = Rig::new();
    let mut fold = Durable::default();
    rig.state
        .set_server(&server("wss://push.example.net/secret"))
        .unwrap();
    let one = rig.state.prepare("one").unwrap();
    let two = rig.state.prepare("zwei, mit ü und \"").unwrap();
    let key = *rig.state.prepared[&one].keys.public_key();
    let changes = [
        asked(one),
        identified("a \"quoted\" \u{1} identity"),
        confirmed(one, "https://push.example.net/1"),
        Change::Asked {
            name: two,
            application_server: Some(key),
        },
        located(two, "https://push.example.net/subscription/2"),
        confirmed(two, "https://push.example.net/2"),
        attempt(1, 1),
        attempt(1, 2),
        attempt(2, u32::MAX),
        Change::Begun(message(1)),
        Change::Begun(message(2)),
        Change::Released(message(1)),
        Change::Done(message(1)),
        attempt(2, 0),
        attempt(3, 1),
        confirmed(one, "https://push.example.net/3"),
        Change::Ending(two),
        identified("another"),
        confirmed(one, "https://push.example.net/4"),
        Change::RenewalConfirmed(one),
        located(one, "https://push.example.net/subscription/4"),
        Change::Forgotten,
        Change::Ended(one),
    ];
    for change in &changes {
        rig.save(change);
        fold.apply(change);
        let before = all_of(&rig.state);
        // What is prepared dies with the process, so it is carried over.
        let prepared = std::mem::take(&mut rig.state.prepared);
        rig.reopen();
        rig.state.prepared = prepared;
        assert_eq!(all_of(&rig.state), before, "{change:?}");
        assert_eq!(rig.state.durable(), &fold, "{change:?}");
    }
    assert_eq!(rig.state.server(), Some(&server("wss://push.example.net/secret")));
}

/// PR-1: changes that come together are one write, which keeps all of them; until then nothing of them is on the disk.
#[test]
fn changes_that_come_together_are_one_write() {
    let mut rig = Rig::new();
    let names: Vec<_> = (0..3).map(|number| rig.ask(&number.to_string())).collect();
    let before = fs::read(rig.file("state.json")).unwrap();
    for name in &names {
        rig.state
            .apply(&confirmed(*name, "https://push.example.net/1"))
            .unwrap();
        assert!(!rig.state.is_written());
    }
    assert_eq!(fs::read(rig.file("state.json")).unwrap(), before);
    rig.state.write().unwrap();
    assert!(rig.state.is_written());
    let after = fs::read(rig.file("state.json")).unwrap();
    assert_eq!(rig.state.written_bytes(), after.len());
    rig.reopen();
    assert!(
        rig.state
            .subscriptions()
            .all(|shown| shown.push_resource.is_some())
    );
    assert_eq!(rig.state.subscriptions().count(), 3);
}

/// PR-1, WP-RCV-6: whatever happens in whatever order, and whenever the process dies, what is there is the fold of all
/// changes; and the same is in memory.
#[test]
fn any_history_survives() {
    for seed in 0..4 {
        let mut rig = Rig::new();
        let mut memory = State::in_memory();
        let mut fold = Durable::default();
        let mut chance = Chance(seed);
        for _ in 0..150 {
            let change = some_change(&mut rig.state, &mut chance);
            if let Change::Asked { name, .. } = change {
                let entry = rig
                    .state
                    .prepared
                    .get(&name)
                    .or(rig.state.kept.entries.get(&name));
                memory.prepared.insert(name, Arc::clone(entry.unwrap()));
            }
            if rig.state.save(&change).is_ok() {
                memory.save(&change).unwrap();
                fold.apply(&change);
            }
            if chance.below(5) == 0 {
                let before = all_of(&rig.state);
                rig.reopen();
                assert_eq!(all_of(&rig.state), before, "seed {seed}");
            }
            for name in rig.state.kept.entries.keys() {
                let shown = rig.state.named(*name);
                let is_wanted = fold.registrations[name].is_wanted();
                assert_eq!(shown.is_some(), is_wanted, "seed {seed}");
                if is_wanted {
                    let label = rig.state.label_of(*name).unwrap();
                    assert_eq!(rig.state.name_of(label), Some(*name), "seed {seed}");
                }
            }
            let labels: Vec<_> = rig.state.subscriptions().map(|shown| shown.label).collect();
            assert!(labels.is_sorted(), "seed {seed}");
            assert_eq!(rig.state.durable(), &fold, "seed {seed}");
            assert_eq!(memory.durable(), &fold, "seed {seed}");
            assert!(memory.kept.entries.keys().eq(fold.registrations.keys()));
        }
    }
}

fn some_change(state: &mut State, chance: &mut Chance) -> Change {
    let names: Vec<_> = state.kept.entries.keys().copied().collect();
    let some_name = names.get(chance.below(names.len().max(1))).copied();
    let name = some_name.unwrap_or(SubscriptionName([0; 16]));
    match chance.below(17) {
        14 => Change::Begun(message(chance.below(20))),
        15 => Change::Released(message(chance.below(20))),
        16 => Change::Recognised {
            message: message(chance.below(20)),
            earlier: MessageKey::of_id(&chance.below(20).to_string()),
        },
        12 => located(name, &format!("https://h/s{}", chance.below(4))),
        13 => Change::Forgotten,
        0 => identified(&chance.below(3).to_string()),
        1 | 2 => match state.prepare(&chance.below(6).to_string()) {
            Ok(new) => asked(new),
            Err(_) => Change::RenewalConfirmed(name),
        },
        // It begins anew, or can't because its label is in use.
        3 if some_name.is_some() => asked(name),
        3 | 4 => Change::RenewalConfirmed(name),
        5 | 6 => confirmed(name, &format!("https://h/{}", chance.below(4))),
        7 => Change::Ending(name),
        8 => Change::Ended(name),
        9 | 10 => attempt(chance.below(20), u32::try_from(chance.below(4)).unwrap()),
        _ => Change::Done(message(chance.below(20))),
    }
}

/// SplitMix64: enough chance for a test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

/// WP-SUB-1, WP-SUB-3, E91-1, E91-2: a subscription has keys of its own from the start, kept before the service is asked;
/// the application gets the public one in 87 characters, the secret in 22, and never the private one.
#[test]
fn each_subscription_has_keys_from_the_start() {
    let mut rig = Rig::new();
    let name = rig.state.prepare("one").unwrap();
    assert_eq!(rig.state.prepare("one").unwrap(), name, "prepared once");
    rig.reopen();
    assert!(rig.state.keys(name).is_none(), "not asked for yet");

    let (one, two) = (rig.ask("one"), rig.ask("two"));
    let (first, second) = (rig.state.keys(one).unwrap(), rig.state.keys(two).unwrap());
    assert_ne!(first.private_key(), second.private_key());
    assert_ne!(first.authentication_secret(), second.authentication_secret());
    let secret = URL_SAFE_NO_PAD.encode(first.private_key());

    rig.save(&confirmed(one, "https://push.example.net/1"));
    let shown = rig.state.subscription("one").unwrap();
    assert_eq!((shown.p256dh().len(), shown.auth().len()), (87, 22));
    assert!(PublicKey::parse(&shown.p256dh()).is_some());
    assert!(!shown.to_json().unwrap().contains(&secret));
    assert_eq!(shown.get_key("private_key"), None);
    assert!(rig.holds(&secret), "the service may be asked now");
    let debug = format!("{:?}", rig.state);
    let secrets = [secret, shown.auth(), shown.p256dh(), "push.example.net".into()];
    assert!(secrets.iter().all(|secret| !debug.contains(secret)), "{debug}");
}

/// A name is a random UUID, which no service can tell anything from (WP-SUB-15).
#[test]
fn names_are_random_uuids() {
    let mut state = State::in_memory();
    let names = ["a", "b"].map(|label| state.prepare(label).unwrap().to_string());
    assert_ne!(names[0], names[1]);
    for name in names {
        assert_eq!(&name[14..15], "4");
        assert!("89ab".contains(&name[19..20]), "{name}");
    }
}

/// WP-RFR-1, PR-47: under another identity each subscription that was confirmed before gets other keys, in the step in which the
/// service confirms it again, and not before; what was ending is gone. The first identity changes none, nor does the same one
/// again.
#[test]
fn another_identity_brings_other_keys() {
    let mut rig = Rig::new();
    let (one, two, ending) = (rig.ask("one"), rig.ask("two"), rig.ask("ending"));
    let keys = |rig: &Rig| [one, two].map(|name| private_key(&rig.state, name));
    let first = keys(&rig);
    rig.save(&identified("a"));
    rig.save(&identified("a"));
    rig.save(&Change::Ending(ending));
    rig.save(&confirmed(one, "https://push.example.net/1"));
    assert_eq!(keys(&rig), first);
    let created = rig.state.subscription("one").unwrap().created;

    rig.save(&identified("b"));
    rig.reopen();
    assert_eq!(
        keys(&rig),
        first,
        "until then what was encrypted for them can be read"
    );
    assert!(rig.state.keys(ending).is_none());
    rig.save(&confirmed(one, "https://push.example.net/2"));
    rig.save(&confirmed(two, "https://push.example.net/3"));
    rig.reopen();
    let second = keys(&rig);
    assert!(!first.contains(&second[0]));
    assert_eq!(second[1], first[1], "they were not confirmed");
    rig.save(&confirmed(one, "https://push.example.net/4"));
    assert_eq!(keys(&rig), second);
    let shown = rig.state.subscription("one").unwrap();
    assert!(shown.replaced);
    assert_eq!((shown.name, shown.created), (one, created));
    assert!(!rig.holds(&URL_SAFE_NO_PAD.encode(first[0])));
}

/// WP-SUB-13, WP-SUB-14: what has ended leaves nothing behind, and what comes after it has another name and other keys.
#[test]
fn what_has_ended_leaves_nothing() {
    let mut rig = Rig::new();
    let old = rig.subscribe("news");
    let secret = URL_SAFE_NO_PAD.encode(private_key(&rig.state, old));
    assert!(matches!(
        rig.state.prepare("news"),
        Err(StateError::LabelInUse(_))
    ));
    rig.save(&Change::Ending(old));
    assert_eq!(rig.state.subscriptions().count(), 0);
    assert_eq!(
        (rig.state.name_of("news"), rig.state.label_of(old)),
        (None, Some("news"))
    );

    let new = rig.ask("news");
    assert_ne!(private_key(&rig.state, new), private_key(&rig.state, old));
    assert_eq!(rig.state.name_of("news"), Some(new));
    assert!(matches!(
        rig.state.save(&asked(old)),
        Err(StateError::LabelInUse(_))
    ));
    rig.reopen();
    assert_eq!(
        rig.state.label_of(old),
        Some("news"),
        "the service may still be asked to end it"
    );

    rig.save(&Change::Ended(old));
    assert_eq!(
        (rig.state.label_of(old), rig.state.name_of("news")),
        (None, Some(new))
    );
    assert!(!rig.holds(&secret));
    assert!(!rig.holds(&old.to_string()));
}

/// E91-1: a subscription that begins anew under its name has new keys.
#[test]
fn what_begins_anew_has_new_keys() {
    let mut state = State::in_memory();
    let name = state.prepare("news").unwrap();
    state.save(&asked(name)).unwrap();
    let before = private_key(&state, name);
    state.save(&Change::Ending(name)).unwrap();
    state.save(&asked(name)).unwrap();
    assert_ne!(private_key(&state, name), before);
    assert_eq!(state.name_of("news"), Some(name));
    let unknown = SubscriptionName([9; 16]);
    assert!(matches!(state.save(&asked(unknown)), Err(StateError::NotPrepared(name)) if name == unknown));
}

/// A label goes into file names and environment variables, and is bounded.
#[test]
fn labels() {
    let mut state = State::in_memory();
    let long = "ü".repeat(LABEL_CHARACTERS);
    for (label, good) in [
        ("default", true),
        ("Zimmer 3 / Tür", false),
        ("Zimmer 3, Tür", true),
        (&long, true),
        (&format!("{long}x"), false),
        ("", false),
        (".", false),
        ("..", false),
        ("...", true),
        ("a\nb", false),
        ("a\0b", false),
        ("a\u{85}b", false),
    ] {
        let prepared = state.prepare(label);
        assert_eq!(prepared.is_ok(), good, "{label:?}");
        assert!(good || matches!(prepared, Err(StateError::BadLabel)));
    }
}

/// Subscriptions come by label, and can be listed while a user agent uses the directory.
#[test]
fn subscriptions_are_listed() {
    let mut rig = Rig::new();
    for label in ["b", "c", "a"] {
        rig.subscribe(label);
    }
    rig.save(&Change::Done(message(1)));
    let snapshot = read(rig.directory.path()).unwrap();
    let labels: Vec<_> = snapshot.subscriptions().map(|shown| shown.label).collect();
    assert_eq!(labels, ["a".into(), "b".into(), "c".into()]);
    assert!(snapshot.subscriptions().eq(rig.state.subscriptions()));
    assert_eq!(snapshot.durable().messages, Messages::default());
    let nothing = TempDir::new().unwrap();
    assert_eq!(read(nothing.path()).unwrap().subscriptions().count(), 0);
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0);
    let missing = read(&nothing.path().join("missing"));
    assert!(matches!(missing, Err(StateError::NoDirectory(_))));
}

/// WS-CLS-3: a state stays with its service, wherever on its host that is; neither an error nor `Debug` quotes the URL, which
/// may hold a secret.
#[test]
fn a_state_belongs_to_one_service() {
    let mut rig = Rig::new();
    assert_eq!(rig.state.server(), None);
    rig.state.set_server(&server("wss://one.example/secret")).unwrap();
    rig.save(&identified("me"));
    rig.reopen();
    let moved = server("wss://one.example:8443/another-secret");
    rig.state.set_server(&moved).unwrap();
    let error = rig
        .state
        .set_server(&server("wss://two.example/secret"))
        .unwrap_err();
    assert!(matches!(error, StateError::OtherService(_)));
    assert!(!format!("{error} {error:?} {:?}", rig.state).contains("secret"));
    rig.reopen();
    assert_eq!(rig.state.server(), Some(&moved));
}

/// A state is bound to no service that has confirmed nothing: a name that was mistyped is corrected, over whichever
/// transport, and what was asked for stays asked for. What any service has confirmed binds it.
#[test]
fn a_mistyped_service_binds_nothing() {
    let mut rig = Rig::new();
    rig.state.set_server(&server("wss://tpyo.example")).unwrap();
    let name = rig.ask("one");
    rig.reopen();
    for other in ["https://two.example", "wss://one.example"] {
        rig.state.set_server(&server(other)).unwrap();
        rig.reopen();
        assert_eq!(rig.state.server(), Some(&server(other)));
        assert_eq!(rig.state.name_of("one"), Some(name));
    }
    let rows: [&[Change]; 4] = [
        &[identified("me")],
        &[confirmed(name, "https://one.example/1")],
        &[located(name, "https://one.example/s/1")],
        &[confirmed(name, "https://one.example/1"), Change::Forgotten],
    ];
    for changes in rows {
        let mut rig = Rig::new();
        rig.state.set_server(&server("wss://one.example")).unwrap();
        let prepared = rig.state.prepare("one").unwrap();
        let entry = rig.state.prepared.remove(&prepared).unwrap();
        rig.state.prepared.insert(name, entry);
        rig.save(&asked(name));
        changes.iter().for_each(|change| rig.save(change));
        for other in ["https://two.example", "wss://two.example"] {
            let refused = rig.state.set_server(&server(other));
            assert!(matches!(refused, Err(StateError::OtherService(_))), "{changes:?}");
        }
    }
}

/// There is a bound on subscriptions, and so many of the largest kind are still read.
#[test]
fn subscriptions_are_bounded() {
    let mut state = State::in_memory();
    let name = state.prepare("one").unwrap();
    let entry = Arc::clone(&state.prepared[&name]);
    for number in 2..SUBSCRIPTIONS as u128 {
        state
            .prepared
            .insert(SubscriptionName(number.to_be_bytes()), Arc::clone(&entry));
    }
    state.prepare("last").unwrap();
    assert!(matches!(
        state.prepare("more"),
        Err(StateError::TooManySubscriptions)
    ));

    let mut state = State::in_memory();
    let name = state.prepare(&"\"".repeat(LABEL_CHARACTERS)).unwrap();
    let key = *state.prepared[&name].keys.public_key();
    let empty = document::write(&state.kept, [0; 16]).len();
    let path = "\"".repeat(PushResource::MAX_BYTES - "https://h/12".len());
    for change in [
        Change::Asked {
            name,
            application_server: Some(key),
        },
        confirmed(name, &format!("https://h/1{path}")),
        confirmed(name, &format!("https://h/2{path}")),
        located(name, &format!("https://h/3{path}")),
    ] {
        state.save(&change).unwrap();
    }
    let largest = document::write(&state.kept, [0; 16]).len() - empty;
    let rest = empty + 6 * (SERVER_URL_BYTES + PushResource::MAX_BYTES);
    assert!(
        (largest * SUBSCRIPTIONS + rest) as u64 <= STATE_BYTES,
        "{largest}"
    );
}

/// WS-NOT-2: the log keeps all that counts and is never larger than its bound, however long the user agent runs.
#[test]
fn the_log_is_bounded() {
    let mut rig = Rig::new();
    let bound = 32 * (1 + MESSAGE_RECORDS as u64);
    for number in 0..MESSAGE_RECORDS {
        rig.save(&Change::Begun(message(number)));
        rig.save(&Change::Done(message(number)));
        if number % 1_000 == 0 {
            assert!(fs::metadata(rig.file("messages.log")).unwrap().len() <= bound);
        }
    }
    let before = all_of(&rig.state);
    rig.reopen();
    assert_eq!(all_of(&rig.state), before);
    let live = 32 * (1 + Messages::REMEMBERED as u64);
    assert_eq!(fs::metadata(rig.file("messages.log")).unwrap().len(), live);
}
