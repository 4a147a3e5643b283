use super::*;

#[test]
fn nothing_written_is_the_defaults() {
    let rules = parse("").unwrap();
    assert_eq!(rules.limits, Limits::default());
    assert_eq!((rules.limits.address.mode, rules.limits.device.mode), (Mode::Off, Mode::Enforce));
    assert!(rules.deny.is_empty() && rules.minimum_app_version.is_none());
}

#[test]
fn the_example_of_the_operators_is_read() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/edge-rules.toml");
    let rules = read(&example).unwrap();
    assert!(!rules.deny.is_empty());
    assert!(rules.deny.iter().all(|rule| rule.mode != Mode::Enforce), "no example is enforced");
}

#[test]
fn a_mistake_anywhere_refuses_the_whole() {
    let good = "[[deny]]\nname = 'good'\nmode = 'shadow'\naddresses = ['203.0.113.0/24']\n";
    assert_eq!(parse(good).unwrap().deny.len(), 1);
    let mistakes = [
        "nonsense",
        "unknown = 1",
        "minimum_app_version = '1'",
        "limits.device = {requests = 0, per_seconds = 1}",
        "limits.device = {requests = 1, per_seconds = 4000}",
        "limits.address = {requests = 2000000, per_seconds = 1}",
        "[[deny]]\nname = 'no-mode'\naddresses = ['203.0.113.1']",
        "[[deny]]\nname = 'no-condition'\nmode = 'enforce'",
        "[[deny]]\nname = 'empty'\nmode = 'enforce'\ndevices = []",
        "[[deny]]\nname = 'typo'\nmode = 'enforce'\naddress = ['203.0.113.1']",
        "[[deny]]\nname = 'range'\nmode = 'enforce'\naddresses = ['203.0.113.1/33']",
        "[[deny]]\nname = 'device'\nmode = 'enforce'\ndevices = ['dev_1']",
        "[[deny]]\nname = 'version'\nmode = 'enforce'\napp_versions = ['>1.0.0']",
        "[[deny]]\nname = 'path'\nmode = 'enforce'\npath_prefix = 'api'",
        "[[deny]]\nname = 'everything'\nmode = 'enforce'\npath_prefix = '/'",
        "[[deny]]\nname = 'A b'\nmode = 'enforce'\naddresses = ['203.0.113.1']",
        "[[deny]]\nname = 'device'\nmode = 'enforce'\naddresses = ['203.0.113.1']",
        "[[deny]]\nname = 'good'\nmode = 'enforce'\naddresses = ['203.0.113.1']",
    ];
    for mistake in mistakes {
        // The first lines may be top-level keys, which come before any table.
        let text = if mistake.starts_with("[[") {
            format!("{good}{mistake}")
        } else {
            format!("{mistake}\n{good}")
        };
        assert!(parse(&text).is_err(), "{mistake}");
    }
}

#[test]
fn an_error_of_the_parser_is_one_line_with_its_position() {
    for (text, position) in [
        ("unknown = 1", "line 1, column 1: unknown field `unknown`"),
        ("\n[[deny]]\n  é = 1\n", "line 3, column 3: "),
        ("[[deny]]\nname = \"x\nmode = 'off'\n", "line 2, column "),
        ("limits = { device = 7 }", "line 1, column 21: "),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(position), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_single_address_is_a_range_of_one() {
    assert_eq!(range("203.0.113.7").unwrap().to_string(), "203.0.113.7/32");
    assert_eq!(range("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
    assert_eq!(range("203.0.113.7/24").unwrap().to_string(), "203.0.113.0/24");
}

#[test]
fn a_long_text_is_refused_by_its_size_and_repeated_only_in_part() {
    let error = parse(&format!("{} = 1", "A".repeat(100_000))).unwrap_err().to_string();
    assert!(error.len() < 300, "{} bytes", error.len());
    let long = "nonsense ".repeat(MAX_FILE_BYTES as usize / 9 + 1);
    assert!(matches!(parse(&long), Err(RulesError::TooMany)));
}
