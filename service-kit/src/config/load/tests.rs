use std::collections::BTreeMap;

use garde::Validate;
use schemars::JsonSchema;

use super::*;
use crate::config::rules;
use crate::service::ServiceConfig;

const COMPLETE: &str = r#"
    listen = "127.0.0.1:8084"
    postgres.url = "postgres://staff:hunter2@localhost/staff"
    callers = { jwks_url = "http://localhost:9083/jwks", issuer = "bff-backoffice" }
"#;

fn values(toml: &str) -> Dict {
    Figment::from(Toml::string(toml)).extract().unwrap()
}

/// The lines of the error, without the first.
fn errors(toml: &str) -> Vec<String> {
    let error = read::<ServiceConfig>(values(toml)).unwrap_err().to_string();
    error.lines().skip(1).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_complete_configuration_is_read_with_its_defaults() {
    let config = read::<ServiceConfig>(values(COMPLETE)).unwrap();
    assert_eq!((config.postgres.pool, config.connections.idle_ms), (16, 620_000));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn every_error_is_reported_with_its_variable_and_without_its_value() {
    let errors = errors(
        r#"
        listen = "hunter2"
        unknown.section = 1
        [callers]
        jwks_url = "ftp://hunter2"
        [connections]
        idle_ms = 0
        [internal.oidc]
        issuer = "https://accounts.google.com"
        audience = 12345
        accounts.scheduler = "hunter2"
        [postgres]
        url = "postgres://staff:hunter2@localhost:port/staff"
        pool = -1
        wait_ms.hunter = 2
        [telemetry]
        log_format = "hunter2"
        otlp = "hunter2"
        "#,
    );
    let expected = [
        "MELMASTOON_CALLERS__ISSUER: is required, such as bff-backoffice",
        "MELMASTOON_CALLERS__JWKS_URL: is not an http or https URL",
        "MELMASTOON_CONNECTIONS__IDLE_MS: lower than 1",
        "MELMASTOON_INTERNAL__OIDC__ACCOUNTS__SCHEDULER: must be a list, such as [\"a\",\"b\"]",
        "MELMASTOON_INTERNAL__OIDC__AUDIENCE: must be a string",
        "MELMASTOON_INTERNAL__OIDC__JWKS_URL: is required, such as https://www.googleapis.com/oauth2/v3/certs",
        "MELMASTOON_LISTEN: is not a value of this setting, such as 0.0.0.0:8084",
        "MELMASTOON_POSTGRES__POOL: must be a whole number",
        "MELMASTOON_POSTGRES__URL: is not the URL of a Postgres server",
        "MELMASTOON_POSTGRES__WAIT_MS: must be a whole number",
        "MELMASTOON_TELEMETRY__LOG_FORMAT: expected one of json, text",
        "MELMASTOON_TELEMETRY__OTLP: is not a setting",
        "MELMASTOON_UNKNOWN: is not a setting",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn all_that_is_required_is_listed() {
    let errors = errors("postgres = 'postgres://staff:hunter2@localhost/staff'");
    let expected = [
        "MELMASTOON_CALLERS__ISSUER: is required, such as bff-backoffice",
        "MELMASTOON_CALLERS__JWKS_URL: is required, such as http://bff.internal:9083/.well-known/jwks.json",
        "MELMASTOON_LISTEN: is required, such as 0.0.0.0:8084",
        "MELMASTOON_POSTGRES: is a section; set its own settings, `…__<NAME>`",
    ];
    assert_eq!(errors, expected);
}

/// A map and a section in it, both required.
#[derive(Debug, serde::Deserialize, JsonSchema, Validate)]
#[garde(allow_unvalidated)]
struct Mapped {
    #[garde(adapt(rules::entries), inner(range(min = 2)))]
    numbers: BTreeMap<String, u32>,
}

#[test]
fn a_rule_on_the_entries_of_a_map_names_the_entry() {
    let of = |toml: &str| read::<Mapped>(values(toml)).unwrap_err().to_string();
    let error = of("numbers = { one = 1, two = 2, nought = 0 }");
    let lines: Vec<&str> = error.lines().skip(1).map(str::trim).collect();
    let expected =
        ["MELMASTOON_NUMBERS__NOUGHT: lower than 2", "MELMASTOON_NUMBERS__ONE: lower than 2"];
    assert_eq!(lines, expected);
    let error = of("numbers = 'hunter2'");
    let lines: Vec<&str> = error.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines, ["MELMASTOON_NUMBERS: must be a map"]);
}

#[test]
fn an_error_of_the_file_repeats_nothing_of_it() {
    let error = Figment::from(Toml::string("password = hunter2")).extract::<Dict>().unwrap_err();
    let error = file_error(error).to_string();
    assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
}
