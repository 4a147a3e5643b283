//! Finds and replaces durations in PromQL expressions.
//!
//! Not here: the grammar of PromQL. Durations stand in brackets or after `offset`; strings and
//! comments are skipped.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, bail};

/// Units of a duration, the longer name first where one begins with another, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
    ("y", 31_536_000_000),
];

/// Where a duration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `[5m]`, or the first part of `[1h:5m]`.
    Range,
    /// The second part of `[1h:5m]`.
    Step,
    /// `offset 5m`
    Offset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) length: Duration,
    at: Range<usize>,
}

/// Finds every duration, in order.
pub(super) fn durations(expression: &str) -> anyhow::Result<Vec<Found>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(next) = expression[at..].chars().next() {
        let rest = &expression[at..];
        at += match next {
            '"' | '\'' | '`' => quoted(rest).context("a string has no end")?,
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '[' => {
                let end = rest.find(']').context("a bracket is not closed")?;
                found.extend(in_brackets(&rest[1..end], at + 1)?);
                end + 1
            }
            _ if is_word(next) => {
                let length = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
                if rest[..length].eq_ignore_ascii_case("offset") {
                    found.extend(after_offset(&rest[length..], at + length));
                }
                length
            }
            _ => next.len_utf8(),
        };
    }
    Ok(found)
}

/// Replaces every duration by what `change` returns for it.
pub(super) fn rewrite(
    expression: &str,
    change: impl Fn(Place, Duration) -> Duration,
) -> anyhow::Result<String> {
    let (mut text, mut at) = (String::with_capacity(expression.len()), 0);
    for found in durations(expression)? {
        text.push_str(&expression[at..found.at.start]);
        text.push_str(&format(change(found.place, found.length)));
        at = found.at.end;
    }
    text.push_str(&expression[at..]);
    Ok(text)
}

/// Parses a duration such as `15s` or `1h30m`.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut millis) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let (unit, length) = UNITS.iter().find(|unit| rest[digits..].starts_with(unit.0))?;
        millis = millis.checked_add(number.checked_mul(*length)?)?;
        rest = &rest[digits + unit.len()..];
    }
    (!text.is_empty()).then_some(Duration::from_millis(millis))
}

/// Formats a duration in seconds, or in milliseconds where it is not whole.
pub(super) fn format(length: Duration) -> String {
    match length.subsec_millis() {
        0 => format!("{}s", length.as_secs()),
        _ => format!("{}ms", length.as_millis()),
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

/// Length of the string that `text` begins with. Backquoted strings have no escapes.
fn quoted(text: &str) -> Option<usize> {
    let mut letters = text.char_indices();
    let (_, quote) = letters.next()?;
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quote != '`' => drop(letters.next()?),
            _ if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The range of `[5m]`, or the range and the step of `[1h:5m]` and `[1h:]`.
fn in_brackets(text: &str, at: usize) -> anyhow::Result<Vec<Found>> {
    let (range, step) = text
        .split_once(':')
        .map_or((text, None), |(range, step)| (range, Some((step, at + range.len() + 1))));
    let mut found = vec![of(Place::Range, range, at)];
    found.extend(
        step.filter(|(step, _)| !step.trim().is_empty())
            .map(|(step, at)| of(Place::Step, step, at)),
    );
    match found.into_iter().collect() {
        Some(found) => Ok(found),
        None => bail!("`[{text}]` is not a range"),
    }
}

/// The duration after `offset`. There is none where it is the name of a label.
fn after_offset(text: &str, at: usize) -> Option<Found> {
    let sign = text.len() - text.trim_start().trim_start_matches('-').len();
    let rest = &text[sign..];
    let start = sign + rest.len() - rest.trim_start().len();
    let rest = &text[start..];
    let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
    of(Place::Offset, &rest[..end], at + start)
}

/// The duration that `text` consists of, without the spaces around it.
fn of(place: Place, text: &str, at: usize) -> Option<Found> {
    let trimmed = text.trim();
    let start = at + text.len() - text.trim_start().len();
    Some(Found { place, length: parse(trimmed)?, at: start..start + trimmed.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halved(expression: &str) -> String {
        rewrite(expression, |_, length| length / 2).unwrap()
    }

    #[test]
    fn ranges_subqueries_and_offsets_are_replaced() {
        assert_eq!(halved("rate(a[5m]) > 5"), "rate(a[150s]) > 5");
        assert_eq!(halved("max_over_time(x[1h:5m])"), "max_over_time(x[1800s:150s])");
        assert_eq!(halved("x[ 1h : ]"), "x[ 1800s : ]");
        assert_eq!(halved("a unless a offset 1h30m"), "a unless a offset 2700s");
        assert_eq!(halved("a OFFSET - 1s and b"), "a OFFSET - 500ms and b");
        assert_eq!(halved("rate(a[1m] offset 10m)"), "rate(a[30s] offset 300s)");
    }

    #[test]
    fn strings_comments_and_names_are_kept() {
        for same in [
            r#"a{route=~"[5m]|offset 5m"}"#,
            r#"a{x="\"[5m]",y='it\'s [1h]',z=`\`}"#,
            "a # rate(b[5m])",
            r#"offset_total{offset="5m"} > 60"#,
            "upstream:calls:rate1m > 0",
        ] {
            assert_eq!(halved(same), same);
        }
        assert_eq!(halved("a # [5m]\n+ b[2s]"), "a # [5m]\n+ b[1s]");
    }

    #[test]
    fn every_place_is_found() {
        let found = durations("a[1h:5m] unless a offset 2d").unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.place, one.length.as_secs())).collect();
        assert_eq!(found, [(Place::Range, 3_600), (Place::Step, 300), (Place::Offset, 172_800)]);
        assert!(durations("a[b]").is_err());
        assert!(durations("a{b=\"c}").is_err());
    }

    #[test]
    fn a_duration_has_units() {
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        for other in ["", "5", "m", "5 m", "5x", "-5m"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
