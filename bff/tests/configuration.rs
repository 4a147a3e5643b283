//! The configuration of a real process.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::LazyLock;

/// A file that can be read and is no key.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

const COMPLETE: [(&str, &str); 8] = [
    ("PUBLIC__BASE_URLS", r#"["https://gateway.test"]"#),
    ("INTERNAL__LISTEN", "127.0.0.1:0"),
    ("IAM__ISSUER", "https://iam.test"),
    ("IAM__JWKS_URL", "https://iam.test/jwks"),
    ("POSTGRES__URL", "postgres://bff:hunter2@localhost/bff"),
    ("REDIS__SESSION_URL", "redis://:hunter2@localhost:6379"),
    ("REDIS__CACHE_URL", "redis://localhost:6380"),
    ("UPSTREAMS__STAFF", "h2c://localhost:8084"),
];

/// A file with a key for request tokens.
static KEY_FILE: LazyLock<String> = LazyLock::new(|| {
    let file = format!("{}/request-token.pem", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&file, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    file
});

/// Runs the gateway with the complete settings and these until it ends.
fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    command(arguments, settings).output().unwrap()
}

fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let key = [("REQUEST_TOKEN__KEY_FILE", KEY_FILE.as_str())];
    let settings = COMPLETE.iter().chain(&key).chain(settings);
    let settings = settings.map(|(name, value)| (format!("MELMASTOON_{name}"), *value));
    let mut command = Command::new(env!("CARGO_BIN_EXE_bff"));
    command.env_clear().envs(settings).args(arguments);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_valid_configuration_is_checked_without_opening_anything() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let output = run(&["--check-config"], &[("PUBLIC__LISTEN", &address)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(output.stdout, b"configuration is valid\n");
}

#[test]
fn a_web_view_s_origin_and_the_settings_of_tests_are_accepted() {
    let origins = r#"["https://console.test","tauri://localhost","app://desk:8080"]"#;
    let check = |settings: &[(&str, &str)]| {
        run(&["--check-config"], &[&[("PUBLIC__LISTEN", "127.0.0.1:0")], settings].concat())
    };
    let settings = [("PUBLIC__ALLOWED_ORIGINS", origins), ("TEST_X__", "1"), ("test_y__", "1")];
    let output = check(&settings);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for wrong in [r#"["tauri://localhost/"]"#, r#"["https://a.test/x"]"#, r#"["file:///a"]"#] {
        let output = check(&[("PUBLIC__ALLOWED_ORIGINS", wrong)]);
        assert!(stderr(&output).contains("is not an origin"), "{wrong}: {}", stderr(&output));
    }
    assert_eq!(check(&[("X__", "1")]).status.code(), Some(1));
}

#[test]
fn all_errors_are_reported_at_once_and_no_secret() {
    let settings = [
        (
            "PUBLIC__BASE_URLS",
            r#"["https://gateway.test","gateway.test","https://a.test/?b","https://a.test#b"]"#,
        ),
        ("PUBLIC__TLS__CERT_FILE", "/nowhere.crt"),
        ("DPOP__NONCES", "true"),
        ("DPOP__NONCE_KEY_FILE", "/dev/null"),
        ("MFA__WRONG_CODES", "0"),
        ("LOCK_AUDIT__RECONCILE_AFTER_S", "5"),
        ("LOCK_AUDIT__COMPLETION_GRACE_S", "5"),
        ("REDIS__SESSION_URL", "memcached://:hunter2@localhost"),
        ("POSTGRES__POOL", "hunter2"),
        ("UPSTREAMS__FRIDGE", "http://localhost"),
        ("UPSTREAMS__STAFF", "ftp://localhost"),
        ("UPSTREAMS__BILLING", "http://localhost/?hunter2"),
        ("UPSTREAMS__LOCK", "localhost"),
        ("UPSTREAMS__IAM", "http://iam:hunter2@localhost:99999"),
        ("UPSTREAMS__SYNC", "hunter2"),
        ("IAM__AUDIENCE", ""),
        ("PUBLIC__ALLOWED_ORIGINS", r#"["https://console.test/"]"#),
        ("MAINTENANCE__JITTER_SECONDS", "18446744073709551615"),
        ("EDGE__HOPS", "2"),
        ("TELEMETRY__LOG", "info,=="),
        ("REQUEST_TOKEN__KEY_FILE", FILE),
    ];
    let output = run(&["--check-config"], &settings);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines = [
        "MELMASTOON_PUBLIC__LISTEN: is required, such as 0.0.0.0:8083",
        "MELMASTOON_PUBLIC__BASE_URLS[1]: ",
        "MELMASTOON_PUBLIC__TLS__CERT_FILE: the file /nowhere.crt cannot be read",
        "MELMASTOON_PUBLIC__TLS__KEY_FILE: is required",
        "MELMASTOON_DPOP__NONCE_KEY_FILE: the file needs at least 32 random bytes",
        "MELMASTOON_MFA__WRONG_CODES: ",
        "MELMASTOON_LOCK_AUDIT__RECONCILE_AFTER_S: lower than 6",
        "MELMASTOON_LOCK_AUDIT__COMPLETION_GRACE_S: must be longer than",
        "MELMASTOON_REDIS__SESSION_URL: is not a Redis URL",
        "MELMASTOON_POSTGRES__POOL: must be a whole number",
        "MELMASTOON_UPSTREAMS__FRIDGE: expected one of iam, tenant",
        "MELMASTOON_UPSTREAMS__LOCK: ",
        "MELMASTOON_UPSTREAMS__IAM: is not a value of this setting",
        "MELMASTOON_UPSTREAMS__SYNC: is not a value of this setting",
        "MELMASTOON_IAM__AUDIENCE: length is lower than 1",
        "MELMASTOON_PUBLIC__ALLOWED_ORIGINS[0]: is not an origin",
        "MELMASTOON_MAINTENANCE__JITTER_SECONDS: greater than 31536000",
        "MELMASTOON_UPSTREAMS__STAFF: is not an http, https or h2c URL",
        "MELMASTOON_UPSTREAMS__BILLING: must have neither a query nor a fragment",
        "MELMASTOON_PUBLIC__BASE_URLS[2]: must have neither a query nor a fragment",
        "MELMASTOON_PUBLIC__BASE_URLS[3]: must have neither a query nor a fragment",
        "MELMASTOON_EDGE__HOPS: is not a setting",
        "MELMASTOON_TELEMETRY__LOG: is not a log filter",
        "MELMASTOON_REQUEST_TOKEN__KEY_FILE: the file is not a P-256 key",
    ];
    for line in lines {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

/// Files with a certificate, its key, another key and firewall rules with a mistake.
fn files() -> [String; 4] {
    let pair = || rcgen::KeyPair::generate().unwrap();
    let (key, other) = (pair(), pair());
    let parameters = rcgen::CertificateParams::new(["gateway.test".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap().pem();
    let rules = "\n[[deny]]\n  modes = 'off'\n";
    let contents = [certificate, key.serialize_pem(), other.serialize_pem(), rules.to_owned()];
    let named = ["tls.crt", "tls.key", "other.key", "rules.toml"].into_iter().zip(contents);
    let files = named.map(|named| {
        let file = format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), named.0);
        std::fs::write(&file, named.1).unwrap();
        file
    });
    files.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn the_content_of_files_is_checked_as_at_start() {
    let [certificate, key, other, rules] = files();
    let check = |key: &str, settings: &[(&str, &str)]| {
        let public = [
            ("PUBLIC__LISTEN", "127.0.0.1:0"),
            ("PUBLIC__TLS__CERT_FILE", certificate.as_str()),
            ("PUBLIC__TLS__KEY_FILE", key),
        ];
        stderr(&run(&["--check-config"], &[&public[..], settings].concat()))
    };
    assert_eq!(check(&key, &[]), "");
    let text = check(&other, &[("EDGE__RULES_FILE", rules.as_str())]);
    let line = "MELMASTOON_PUBLIC__TLS: the certificate and key cannot be used";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("MELMASTOON_EDGE__RULES_FILE: line 3, column 3: "), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    let text = check(FILE, &[]);
    assert!(text.contains("MELMASTOON_PUBLIC__TLS: ") && text.contains("PEM"), "{text}");
}

#[test]
fn variables_without_a_name_at_a_level_are_refused() {
    let settings = [("PUBLIC__LISTEN", "127.0.0.1:0"), ("", "1"), ("__X", "1"), ("X__", "1")];
    let output = run(&["--check-config"], &settings);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for name in ["MELMASTOON_", "MELMASTOON___X", "MELMASTOON_X__"] {
        assert!(text.contains(&format!("{name}: is not a setting")), "{name} is not in:\n{text}");
    }
}

#[test]
fn a_result_that_cannot_be_printed_fails_without_a_panic() {
    let full = || std::fs::File::create("/dev/full").unwrap();
    let mut command = command(&["--check-config"], &[("PUBLIC__LISTEN", "127.0.0.1:0")]);
    assert_eq!(command.stdout(full()).stderr(full()).status().unwrap().code(), Some(1));
}

#[test]
fn the_gateway_does_not_start_with_an_unknown_setting() {
    let settings = [("PUBLIC__LISTEN", "127.0.0.1:0"), ("EDGE__HOPS", "2")];
    let output = run(&[], &settings);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("MELMASTOON_EDGE__HOPS: is not a setting"), "{text}");
}

#[test]
fn other_arguments_are_refused() {
    let output = run(&["--listen"], &[("PUBLIC__LISTEN", "127.0.0.1:0")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--check-config"));
}
