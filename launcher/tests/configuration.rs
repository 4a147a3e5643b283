//! `docs/configuration.md` is written from the types of the settings.

use bff::config::GatewayConfig;
use service_kit::config::reference;
use service_kit::service::ServiceConfig;
use service_kit::testing::assert_committed;
use stand_ins::config::Config;

const INTRODUCTION: &str = "# Configuration

Generated from the types of the settings; see [Add a setting](add-a-setting.md).

A setting is an environment variable: `MELMASTOON_`, then the section and the setting with `__` between levels. A list is written
`[\"a\",\"b\"]`. Settings may also stand in a TOML file that `MELMASTOON_CONFIG` names; the environment takes precedence. A program
refuses variables with the prefix that it does not know, except `MELMASTOON_TEST_…`; the stand-ins ignore unknown sections.
**required** within a section that is not set by default means: with any other setting of that section.

`--check-config`, the only argument of each program, loads and validates its settings and the files that they name, prints
`configuration is valid` or every error with its variable, and opens no connection. The exit status is 0 or 1. The certificate and
the firewall rules are checked once the other settings are valid.
";

#[test]
fn the_committed_reference_is_the_generated_one() {
    let programs = [
        ("Gateway: `bff`", reference::<GatewayConfig>()),
        ("Services: `inventory`, `housekeeping`, `staff`", reference::<ServiceConfig>()),
        ("Stand-ins: `stand-ins`", reference::<Config>()),
    ];
    let mut document = INTRODUCTION.to_owned();
    for (title, tables) in programs {
        document.extend(["\n## ", title, "\n", &tables]);
    }
    assert_committed(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md"), &document);
}
