//! The alert rules of `ops/alerts`, with every duration divided by the run's scale.
//!
//! The files are rewritten line by line, so that a rule keeps its text: `expr`, `for`,
//! `keep_firing_for` and a group's `interval` each start a line, as they do in these files.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};

use super::promql::{self, Place};
use super::scale::Scale;

/// Durations that stay above this are divided by more, all those of their rule by the same number.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// A range covers so many scrapes. `rate` needs two of them; the third may be late.
const SCRAPES_PER_RANGE: u32 = 3;
/// Time for scrapes and evaluations, before it is divided.
const SLACK: Duration = Duration::from_secs(30);
/// The programs' own intervals are up to 5 s and are not divided.
const MIN_SLACK: Duration = Duration::from_secs(10);
/// Limit of critical alerts of the gateway (recovery objective RO-3).
const PAGE_WITHIN: Duration = Duration::from_secs(120);

/// What becomes of a number of seconds that a rule compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seconds {
    /// The age of an event, which the durations of the same rule bound: divided with them.
    Age(&'static str),
    /// A latency, or the validity of a certificate: the programs keep it at every scale.
    Kept,
}

/// Every alert that compares with seconds.
const SECONDS: [(&str, Seconds); 8] = [
    ("BffCursorsUncompared", Seconds::Age("<= 3600")),
    ("BffDashboardOverDeadline", Seconds::Kept),
    ("BffForcedSignOutLate", Seconds::Kept),
    ("BffTenantIsolationUnproven", Seconds::Age("<= 26 * 3600")),
    ("BffTlsCertificateEndsInADay", Seconds::Kept),
    ("BffTlsCertificateEndsInAMonth", Seconds::Kept),
    ("BffTlsCertificateEndsInAWeek", Seconds::Kept),
    ("ExpiredRowsNotSwept", Seconds::Age("<= 24 * 3600")),
];

/// Rewritten rule files and when their alerts fire.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Name and text of each file.
    pub(super) files: Vec<(String, String)>,
    rules: BTreeMap<String, Rule>,
}

/// One rewritten rule.
#[derive(Debug)]
struct Rule {
    /// The scale, or more for a rule with longer durations than [`LONGEST`].
    scale: Scale,
    expression: String,
    /// The longest range.
    window: Duration,
    /// The longest range or offset, after which the past has no effect.
    memory: Duration,
    /// `for`
    hold: Duration,
    critical: bool,
}

/// When an alert fires and when it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Timing {
    /// Longest time from the fault until it fires.
    pub(super) fires_within: Duration,
    /// Longest time from the end of the fault until it is inactive.
    pub(super) ends_within: Duration,
    /// What its durations are divided by.
    pub(super) divisor: f64,
}

impl Rules {
    /// Adds a file. `scrape_interval`: the divided one.
    pub(super) fn add(
        &mut self,
        name: &str,
        text: &str,
        scale: Scale,
        scrape_interval: Duration,
    ) -> anyhow::Result<()> {
        let mut scaled = String::with_capacity(text.len());
        for block in blocks(text) {
            let rewriting = Rewriting { scale, scrape_interval };
            let lines = match &block.rule {
                Some(rule) => self.rule(rule, &block.lines, rewriting),
                None => block.lines.iter().map(|line| rewriting.interval(line)).collect(),
            };
            let lines = lines.with_context(|| match &block.rule {
                Some(rule) => format!("{name}: {rule}"),
                None => name.to_owned(),
            })?;
            scaled.extend(lines.into_iter().map(|line| line + "\n"));
        }
        self.files.push((name.to_owned(), scaled));
        Ok(())
    }

    /// Timing of an alert. Its window is that of the recording rules it uses, if theirs is longer.
    pub(super) fn timing(&self, alert: &str, scale: Scale) -> anyhow::Result<Timing> {
        let rule = self.rules.get(alert);
        let rule = rule.with_context(|| format!("no file of ops/alerts has the alert {alert}"))?;
        let used = self.rules.iter().filter(|(name, _)| rule.expression.contains(name.as_str()));
        let used: Vec<&Rule> = used.map(|(_, used)| used).chain([rule]).collect();
        let longest = |part: fn(&Rule) -> Duration| used.iter().map(|used| part(used)).max();
        let slack = scale.shorten(SLACK).max(MIN_SLACK);
        let fires = longest(|used| used.window).unwrap_or_default() + rule.hold + slack;
        let pages = rule.critical && alert.starts_with("Bff");
        Ok(Timing {
            fires_within: if pages { fires.min(PAGE_WITHIN) } else { fires },
            ends_within: longest(|used| used.memory).unwrap_or_default() + slack,
            divisor: rule.scale.divisor(),
        })
    }

    /// Rewrites one rule and keeps what its timing depends on.
    fn rule(
        &mut self,
        name: &str,
        lines: &[&str],
        rewriting: Rewriting,
    ) -> anyhow::Result<Vec<String>> {
        let fields = fields(lines)?;
        let expression = fields.expression.clone().context("the rule has no `expr`")?;
        let seconds = SECONDS.iter().find(|(alert, _)| *alert == name).map(|(_, how)| *how);
        if seconds.is_none() && fields.is_alert && compares_seconds(&expression) {
            bail!("it compares with seconds: add it to SECONDS in chaos/src/prometheus/rules.rs");
        }
        let mut lengths: Vec<Duration> = fields.holds.clone();
        lengths.extend(promql::durations(&expression)?.iter().map(|found| found.length));
        let longest = lengths.into_iter().max().unwrap_or_default();
        let scale = rewriting.scale.or_so_that(longest, LONGEST);
        let rewriting = Rewriting { scale, ..rewriting };
        let expression = rewriting.expression(&expression, seconds)?;
        let found = promql::durations(&expression)?;
        let longest = |steps: &[Place]| {
            let chosen = found.iter().filter(|found| steps.contains(&found.place));
            chosen.map(|found| found.length).max().unwrap_or_default()
        };
        let (window, memory) = (longest(&[Place::Range]), longest(&[Place::Range, Place::Offset]));
        let hold = fields.holds.iter().map(|hold| scale.shorten(*hold)).max().unwrap_or_default();
        let critical = fields.critical;
        let rule = Rule { scale, expression: expression.clone(), window, memory, hold, critical };
        self.rules.insert(name.to_owned(), rule);
        fields.write(lines, &expression, rewriting)
    }
}

/// Whether an expression compares something with a number of seconds.
fn compares_seconds(expression: &str) -> bool {
    expression.contains(['<', '>'])
        && (expression.contains("time()") || expression.contains("seconds"))
}

/// How durations are replaced.
#[derive(Debug, Clone, Copy)]
struct Rewriting {
    scale: Scale,
    scrape_interval: Duration,
}

impl Rewriting {
    fn expression(self, text: &str, seconds: Option<Seconds>) -> anyhow::Result<String> {
        let shortest = self.scrape_interval * SCRAPES_PER_RANGE;
        let text = promql::rewrite(text, |place, length| match place {
            Place::Range => self.scale.shorten(length).max(shortest),
            Place::Step | Place::Offset => self.scale.shorten(length),
        })?;
        let Some(Seconds::Age(age)) = seconds else { return Ok(text) };
        if !text.contains(age) {
            bail!("it has no `{age}`: correct SECONDS in chaos/src/prometheus/rules.rs");
        }
        Ok(text.replace(age, &format!("{age} / {}", self.scale.divisor())))
    }

    /// Replaces the duration of a line such as `interval: 5s`.
    fn interval(self, line: &str) -> anyhow::Result<String> {
        let is_interval = matches!(field(line), Some(("interval", _)));
        if is_interval { self.value(line) } else { Ok(line.to_owned()) }
    }

    fn value(self, line: &str) -> anyhow::Result<String> {
        let (_, value) = field(line).context("the line has no value")?;
        let length = promql::parse(value);
        let length = length.with_context(|| format!("`{value}` is not a duration"))?;
        let start = line.len() - value.len();
        Ok(format!("{}{}", &line[..start], promql::format(self.scale.shorten(length))))
    }
}

/// Lines of one rule, or lines between rules.
struct Block<'a> {
    rule: Option<String>,
    lines: Vec<&'a str>,
}

/// Splits a file before each list item and after each rule.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut indent) = (vec![Block { rule: None, lines: vec![] }], None);
    for line in text.lines() {
        let own = line.len() - line.trim_start().len();
        let starts = line.trim_start().starts_with("- ");
        let rule = match field(line) {
            Some(("alert" | "record", name)) if starts => Some(name.to_owned()),
            _ => None,
        };
        let ends = indent.is_some_and(|indent| own <= indent) && !line.trim().is_empty();
        if rule.is_some() || ends {
            indent = rule.is_some().then_some(own);
            blocks.push(Block { rule, lines: vec![] });
        }
        if let Some(last) = blocks.last_mut() {
            last.lines.push(line);
        }
    }
    blocks
}

/// Key and value of a line such as `- alert: Name` or `for: 15s`.
fn field(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (key, value) = line.strip_prefix("- ").unwrap_or(line).split_once(':')?;
    let is_key = key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    is_key.then_some((key, value.trim_start()))
}

/// What is read from the lines of a rule.
#[derive(Default)]
struct Fields {
    is_alert: bool,
    expression: Option<String>,
    /// Number of the line of `expr`, and the number of lines of its block.
    expression_at: (usize, usize),
    /// `for` and `keep_firing_for`, and the numbers of their lines.
    holds: Vec<Duration>,
    holds_at: Vec<usize>,
    critical: bool,
}

fn fields(lines: &[&str]) -> anyhow::Result<Fields> {
    let mut fields = Fields::default();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut number = 0;
    while let Some(line) = lines.get(number) {
        match field(line) {
            Some(("alert", _)) => fields.is_alert = true,
            Some(("expr", "|")) => {
                let block = lines[number + 1..].iter();
                let block = block.take_while(|next| indent(next) > indent(line));
                let block: Vec<&str> = block.copied().collect();
                fields.expression = Some(block.join("\n"));
                fields.expression_at = (number, block.len());
                number += block.len();
            }
            Some(("expr", text)) if text.is_empty() || text.starts_with(['>', '"', '\'', '|']) => {
                bail!("`expr` is quoted or folded: write it plain or after `|`");
            }
            Some(("expr", text)) => {
                fields.expression = Some(text.to_owned());
                fields.expression_at = (number, 0);
            }
            Some(("for" | "keep_firing_for", text)) => {
                let length = promql::parse(text);
                fields.holds.push(length.with_context(|| format!("`{text}` is not a duration"))?);
                fields.holds_at.push(number);
            }
            Some(("labels", text)) => fields.critical = text.contains("severity: critical"),
            _ => {}
        }
        number += 1;
    }
    Ok(fields)
}

impl Fields {
    /// The lines with another expression and divided durations.
    fn write(
        &self,
        lines: &[&str],
        expression: &str,
        rewriting: Rewriting,
    ) -> anyhow::Result<Vec<String>> {
        let (at, count) = self.expression_at;
        let mut written = Vec::with_capacity(lines.len());
        for (number, line) in lines.iter().enumerate() {
            if number == at && count == 0 {
                let start = line.len() - self.expression.as_deref().unwrap_or_default().len();
                written.push(format!("{}{expression}", &line[..start]));
            } else if number == at {
                written.push((*line).to_owned());
                written.push(expression.to_owned());
            } else if number > at && number <= at + count {
                // Part of the expression.
            } else if self.holds_at.contains(&number) {
                written.push(rewriting.value(line)?);
            } else {
                written.push((*line).to_owned());
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests;
