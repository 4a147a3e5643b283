use super::*;

const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);

fn rules(text: &str, scale: &str) -> anyhow::Result<Rules> {
    let mut rules = Rules::default();
    rules.add("a.yml", text, scale.parse()?, SCRAPE_INTERVAL)?;
    Ok(rules)
}

const TEXT: &str = "\
groups:
  - name: a
    interval: 5s
    rules:
      # For an hour: for: 1h
      - record: a:rate1m
        expr: sum(rate(a_total{x=\"[5m]\"}[1m]))
      - alert: A
        expr: |
          a:rate1m > 1
            or a_total offset 5m > 2
        for: 15s
        labels: {severity: critical}
        annotations:
          summary: \"for: 5m, not [5m].\"
      - alert: B
        expr: b > 1
";

#[test]
fn every_duration_is_divided_and_the_rest_is_kept() {
    let scaled = &rules(TEXT, "10").unwrap().files[0].1;
    let expected = TEXT
        .replace("interval: 5s", "interval: 1s")
        .replace("[1m]))", "[6s]))")
        .replace("offset 5m", "offset 30s")
        .replace("        for: 15s", "        for: 1500ms");
    assert_eq!(*scaled, expected);
}

#[test]
fn at_scale_one_nothing_changes() {
    let text = TEXT.replace("5m", "300s").replace("1m]", "60s]");
    assert_eq!(rules(&text, "1").unwrap().files[0].1, text);
}

#[test]
fn a_range_covers_three_scrapes() {
    assert!(rules(TEXT, "60").unwrap().files[0].1.contains("[3s]))"));
}

#[test]
fn an_alert_s_window_is_that_of_the_recording_rule_it_uses() {
    let rules = rules(TEXT, "1").unwrap();
    let timing = |alert| rules.timing(alert, Scale::ONE).unwrap();
    let seconds = |fires, ends| Timing {
        fires_within: Duration::from_secs(fires),
        ends_within: Duration::from_secs(ends),
        divisor: 1.0,
    };
    assert_eq!(timing("A"), seconds(60 + 15 + 30, 300 + 30));
    assert_eq!(timing("B"), seconds(30, 30));
    assert!(rules.timing("C", Scale::ONE).is_err());
}

#[test]
fn a_long_rule_is_divided_by_more_with_its_seconds() {
    let text = "      - alert: BffTenantIsolationUnproven\n        \
                expr: max(up offset 26h) unless on () (time() - max(a[13h]) <= 26 * 3600)\n";
    let rules = rules(text, "1").unwrap();
    let scaled = &rules.files[0].1;
    assert!(scaled.contains("(up offset 900s)"), "{scaled}");
    assert!(scaled.contains("max(a[450s]) <= 26 * 3600 / 104)"), "{scaled}");
    let timing = rules.timing("BffTenantIsolationUnproven", Scale::ONE).unwrap();
    assert!((timing.divisor - 104.0).abs() < f64::EPSILON, "{timing:?}");
}

#[test]
fn a_comparison_with_seconds_must_be_decided() {
    let unknown = "  - alert: New\n    expr: time() - a_seconds > 300\n";
    let refused = format!("{:#}", rules(unknown, "10").unwrap_err());
    assert!(refused.contains("New") && refused.contains("SECONDS"), "{refused}");
    let changed = "  - alert: BffCursorsUncompared\n    expr: time() - a <= 60\n";
    assert!(rules(changed, "10").is_err());
}

#[test]
fn other_forms_of_a_rule_are_refused() {
    for text in [
        "  - alert: A\n    expr: \"a > 1\"\n",
        "  - alert: A\n    expr: >\n      a > 1\n",
        "  - alert: A\n    expr: a > 1\n    for: soon\n",
        "  - alert: A\n    for: 1s\n",
    ] {
        assert!(rules(text, "10").is_err(), "{text}");
    }
}
