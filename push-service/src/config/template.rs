//! The whole configuration as TOML with its documentation, for `config print-default`.

use std::fmt::Write as _;

use super::Config;
use super::given::variable;
use super::sections::{Item, Section as _, dotted};

const HEAD: &str = "\
# The configuration of push-service: every key, with its default.
# Keep the lines that you change, and delete the others. An empty string means that the key is not set.
# Environment variables override this file. The line above each key names its variable. The same name with _FILE at its end
# takes the path of a file with the value, for secrets.
";

/// A TOML document that says what the defaults say, and explains every key.
pub fn template() -> String {
    let mut items = Vec::new();
    Config::describe(&mut items);
    let mut text = HEAD.to_owned();
    let mut section = "";
    for item in items {
        match item {
            Item::Section { path: "", .. } => {}
            Item::Section { path, about } => {
                section = path;
                text.push('\n');
                comment(&mut text, about);
                push_line(&mut text, format_args!("[{path}]"));
            }
            Item::Key {
                name,
                about,
                default,
                takes,
            } => {
                text.push('\n');
                comment(&mut text, about);
                push_line(&mut text, format_args!("# It takes {takes}."));
                push_line(&mut text, format_args!("# {}", variable(&dotted(section, name))));
                push_line(&mut text, format_args!("{name} = {default}"));
            }
        }
    }
    text
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        push_line(text, format_args!("#{line}"));
    }
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}
