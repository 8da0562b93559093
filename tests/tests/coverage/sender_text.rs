//! Text of a sender never stands where options are read: in no command that a page or a help text shows.

use std::fs;
use std::path::{Path, PathBuf};

/// How a shell puts a message, or what a service said of it, into a command line.
const SENDER_TEXT: [&str; 4] = ["$(cat)", "`cat`", "$PUSH_MESSAGE_ID", "$PUSH_TOPIC"];
/// Programs that read options, but where none does after these words.
const ENDS_OPTIONS: &str = " -- ";
/// It takes options and changes backslashes, whatever stands before the text.
const NEVER: &str = "echo ";

#[test]
fn no_command_takes_sender_text_as_options() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let faults: Vec<_> = pages(&root).iter().flat_map(|page| faults(page)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Pages for people, and the help of the commands.
fn pages(root: &Path) -> Vec<PathBuf> {
    let mut pages = vec![
        root.join("README.md"),
        root.join("user-agent-client/README.md"),
        root.join("user-agent-client/src/cli/help.rs"),
        root.join("user-agent-client/src/cli/args.rs"),
    ];
    for entry in fs::read_dir(root.join("docs")).expect("there is a folder docs") {
        let path = entry.expect("docs can be read").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

fn faults(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page can be read");
    let faulty = text.lines().enumerate().filter(|(_, line)| is_faulty(line));
    faulty
        .map(|(at, line)| format!("{}:{}: {}", page.display(), at + 1, line.trim()))
        .collect()
}

fn is_faulty(line: &str) -> bool {
    SENDER_TEXT.iter().any(|text| {
        let before = line.split_once(text).map(|(before, _)| before);
        before.is_some_and(|before| !before.contains(ENDS_OPTIONS) || before.contains(NEVER))
    })
}

/// Commands that take such text as options, or change it, are found.
#[test]
fn faults_are_found() {
    for (line, is_found) in [
        ("listen --exec 'notify-send \"$(cat)\"'", true),
        ("listen --exec 'echo \"$PUSH_SUBSCRIPTION: $(cat)\"'", true),
        ("listen --exec 'rm \"$PUSH_TOPIC\"'", true),
        ("listen --exec 'notify-send -- \"$(cat)\"'", false),
        ("listen --exec 'logger -t \"$PUSH_SUBSCRIPTION\"'", false),
        ("`PUSH_TOPIC` is not set unless the service sends it", false),
    ] {
        assert_eq!(is_faulty(line), is_found, "{line}");
    }
}
