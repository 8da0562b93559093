//! Writes the overview into `page.html`.
//!
//! The template has these directives, in double braces. `page.js` finds the attributes that they leave, and keeps them up to date:
//!
//! ```text
//! value PATH as FORM   an element with a value, written in a form of `formats.rs`
//! text PATH as FORM    the same as bare text
//! if PATH              an attribute: its element is hidden while the value is zero, empty, false or not there
//! state PATH           an attribute: what style the element has, by a state
//! line PATH            a line of the last ten minutes
//! ```

use std::fmt::Write as _;

use serde_json::Value;

use super::super::routes::{self, Row};
use super::formats;
use crate::html::escape;
use crate::metrics::{Label as _, Refused, refusal_explained};

const TEMPLATE: &str = include_str!("page.html");

/// Of a line: a column for each step between two copies, and the height of its highest value.
const LINE_WIDTH: usize = crate::defaults::RECENT_SAMPLES - 1;
const LINE_HEIGHT: f64 = 32.0;

/// The page with these values.
///
/// # Panics
///
/// If the template has an unknown directive. A test rules that out.
pub(super) fn page(overview: &Value) -> String {
    let template = TEMPLATE
        .replace("{{refusals}}", &refusals())
        .replace("{{warnings}}", &warnings(overview))
        .replace("{{routes}}", &routes());
    let mut page = String::with_capacity(template.len() * 2);
    let mut rest = &*template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (directive, behind) = after.split_once("}}").expect("each directive has an end");
        page.push_str(before);
        page.push_str(&written(directive, overview));
        rest = behind;
    }
    page.push_str(rest);
    page
}

fn written(directive: &str, overview: &Value) -> String {
    let words: Vec<&str> = directive.split(' ').collect();
    let form = |form, value| escape(&formats::written(form, value).expect("the form is known"));
    match *words {
        ["value", path, "as", of] => {
            let text = form(of, at(overview, path));
            format!("<span data-value=\"{path}\" data-as=\"{of}\">{text}</span>")
        }
        ["text", path, "as", of] => form(of, at(overview, path)),
        ["if", path] => {
            let hidden = if is_something(at(overview, path)) {
                ""
            } else {
                " hidden"
            };
            format!("data-if=\"{path}\"{hidden}")
        }
        ["state", path] => {
            let state = escape(at(overview, path).as_str().unwrap_or_default());
            format!("data-state-of=\"{path}\" data-state=\"{state}\"")
        }
        ["line", path] => {
            let values = at(overview, path);
            let (points, ground) = (points(values), ground(values));
            format!(
                "<svg class=\"line\" viewBox=\"0 -2 {LINE_WIDTH} 36\" preserveAspectRatio=\"none\" aria-hidden=\"true\" \
                 focusable=\"false\"><polygon data-line=\"{path}\" points=\"{points}{ground}\"/><polyline \
                 data-line=\"{path}\" points=\"{points}\"/></svg>"
            )
        }
        _ => panic!("the template has an unknown directive: {directive}"),
    }
}

/// The member at a path such as `rates.accepted.total`, or null if the path does not exist.
fn at<'a>(overview: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(overview, |value, name| &value[name])
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(_) => true,
    }
}

/// The newest value is at the right; the highest one at the top.
fn points(values: &Value) -> String {
    let values: Vec<f64> = values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    let highest = values.iter().copied().fold(0.0, f64::max);
    let mut points = String::new();
    for (at, value) in values.iter().enumerate() {
        let x = (LINE_WIDTH + 1 + at) as f64 - values.len() as f64;
        let y = if highest > 0.0 {
            LINE_HEIGHT * (1.0 - value / highest)
        } else {
            LINE_HEIGHT
        };
        let y = (y * 10.0 + 0.5).floor() / 10.0;
        let space = if at > 0 { " " } else { "" };
        write!(points, "{space}{x},{y}").expect("writing to a string cannot fail");
    }
    points
}

/// The end of an area: its corners on the ground.
fn ground(values: &Value) -> String {
    match values.as_array().map(Vec::len) {
        None | Some(0) => String::new(),
        Some(many) => format!(
            " {LINE_WIDTH},{LINE_HEIGHT} {},{LINE_HEIGHT}",
            LINE_WIDTH + 1 - many
        ),
    }
}

/// A row for each reason; those that did not occur are hidden.
fn refusals() -> String {
    let row = |why: &Refused| {
        let (meaning, settings) = refusal_explained(*why);
        let name = why.as_str();
        let settings = settings.map_or_else(String::new, |settings| {
            let names = settings
                .split(", ")
                .map(|name| format!("<code>{}</code>", escape(name)));
            format!(
                " <span class=\"settings\">{}</span>",
                names.collect::<Vec<_>>().join(" ")
            )
        });
        format!(
            "<tr {{{{if refusals.{name}.total}}}}><th scope=\"row\"><code>{name}</code><span class=\"meaning\">{}{settings}</span></th>\
             <td>{{{{value refusals.{name}.recent as count}}}}</td><td>{{{{value refusals.{name}.total as count}}}}</td></tr>\n",
            escape(meaning)
        )
    };
    Refused::ALL.iter().map(row).collect()
}

/// Braces are written so that a sentence cannot become a directive.
fn warnings(overview: &Value) -> String {
    let texts = overview["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    texts
        .map(|text| format!("<li>{}</li>", escape(text).replace('{', "&#123;")))
        .collect()
}

fn routes() -> String {
    let row = |row: Row| {
        let path = escape(row.path);
        let shown = if row.is_page {
            format!("<a href=\"{}\">{path}</a>", path.trim_start_matches('/'))
        } else {
            path
        };
        let mark = if row.is_action {
            " <span class=\"mark\">token</span>"
        } else {
            ""
        };
        format!(
            "<li><code>{} {shown}</code>{mark}<span class=\"about\">{}</span></li>\n",
            row.method,
            escape(row.about)
        )
    };
    routes::rows().map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The newest value stands at the right, the highest at the top, and zeros lie on the ground.
    #[test]
    fn lines_are_drawn() {
        assert_eq!(points(&json!([])), "");
        assert_eq!(points(&json!([0, 0])), "119,32 120,32");
        assert_eq!(points(&json!([1.0, 4.0, 3.0])), "118,24 119,0 120,8");
        assert_eq!(ground(&json!([1.0, 4.0, 3.0])), " 120,32 118,32");
        assert_eq!(ground(&json!([])), "");
    }

    /// What is zero, empty or missing is hidden.
    #[test]
    fn nothing_is_hidden_that_says_something() {
        let rows = [
            (json!(null), false),
            (json!(0), false),
            (json!(""), false),
            (json!(false), false),
            (json!([]), false),
            (json!(0.5), true),
            (json!("why"), true),
            (json!(true), true),
            (json!({}), true),
        ];
        for (value, shown) in rows {
            assert_eq!(is_something(&value), shown, "{value}");
        }
    }
}
