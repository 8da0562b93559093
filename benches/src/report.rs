//! The table of figures beside their budgets.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use crate::budgets::{Budget, Figure, Limit};
use crate::failure::{BenchResult, Failure};
use crate::service::Storage;

/// A figure that was measured, in its unit.
pub(crate) type Measured = (Figure, f64);

const HEADINGS: [&str; 6] = ["figure", "ours", "budget", "peer", "floor", "verdict"];

/// Prints a line, or several. If they cannot be printed, measuring goes on for nothing, so it fails.
pub(crate) fn print(text: impl fmt::Display) -> BenchResult<()> {
    let mut output = io::stdout().lock();
    let printed = writeln!(output, "{text}").and_then(|()| output.flush());
    printed.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::new(format!("cannot write to standard output: {error}")),
    })
}

/// The table, in the order of the budgets; then what has no budget, because it was measured with other options.
pub(crate) fn table(measured: &[Measured], storage: Storage) -> String {
    let mut rows: Vec<_> = measured
        .iter()
        .filter_map(|(figure, value)| figure.budget().map(|(place, budget)| (place, budget, *value)))
        .collect();
    rows.sort_by_key(|(place, ..)| *place);
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(
        rows.into_iter()
            .map(|(_, budget, value)| line(budget, value, storage)),
    );
    lines.extend(measured.iter().filter_map(|(figure, value)| {
        let (name, unit) = figure.of_other_options()?;
        let [none, no_peer, no_floor, no_verdict] = ["–"; 4].map(str::to_owned);
        Some([name, unit.show(*value), none, no_peer, no_floor, no_verdict])
    }));
    aligned(&lines)
}

fn line(budget: &Budget, value: f64, storage: Storage) -> [String; 6] {
    let show = |value: f64| budget.unit.show(value);
    let limit = budget.limit_on(storage);
    let bound = match limit {
        Limit::AtMost(most) => format!("≤ {}", show(most)),
        Limit::AtLeast(least) => format!("≥ {}", show(least)),
        Limit::Open => "–".to_owned(),
    };
    let or_dash = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), show);
    [
        budget.name.to_owned(),
        show(value),
        bound,
        or_dash(budget.peer),
        or_dash(budget.floor),
        verdict(limit.excess(value)),
    ]
}

fn verdict(excess: Option<f64>) -> String {
    match excess {
        None => "–".to_owned(),
        Some(excess) if excess <= 1.0 => "within".to_owned(),
        Some(excess) => format!("OVER: {excess:.1} times"),
    }
}

/// The first column to the left, figures to the right, the verdict as it comes.
fn aligned(lines: &[[String; 6]]) -> String {
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for [name, figures @ .., verdict] in lines {
        // A String takes every write.
        let _ = write!(text, "{name:<0$}", widths[0]);
        for (figure, width) in figures.iter().zip(&widths[1..]) {
            let _ = write!(text, "  {figure:>width$}");
        }
        let _ = writeln!(text, "  {verdict}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures stand in the budgets' order, and what is over says by how much.
    #[test]
    fn the_table_tells_what_is_over() {
        let figures = [
            (Figure::Startup, 100.0),
            (Figure::Connect, 50.0),
            (Figure::PushedReused, 1e6),
        ];
        let table = table(&figures, Storage::Embedded);
        let mut lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(
            lines.remove(1).ends_with("  –"),
            "no budget, no verdict:\n{table}"
        );
        assert!(
            lines[1].contains("50.0 µs") && lines[1].ends_with("within"),
            "{table}"
        );
        assert!(lines[2].ends_with("OVER: 2.0 times"), "{table}");
    }

    /// A figure that was measured with other options than its budget says which, and is not compared with it.
    #[test]
    fn labels_say_what_ran() {
        let figures = [
            (
                Figure::DeliveryAt {
                    rate: 300.0,
                    percent: 99,
                },
                1e9,
            ),
            (Figure::DrainOf { user_agents: 20 }, 1.0),
            (Figure::RenewedOf { subscriptions: 7 }, 1e9),
        ];
        let table = table(&figures, Storage::Embedded);
        for name in [
            "delivery at 300 messages/s, p99 ",
            "messages to 20 agents back at once ",
            "7 subscriptions renewed ",
        ] {
            let line = table.lines().find(|line| line.contains(name)).unwrap();
            assert!(line.ends_with("  –"), "{line}");
        }
        assert!(
            !table.contains("750") && !table.contains("2,000") && !table.contains("OVER"),
            "{table}"
        );
    }
}
