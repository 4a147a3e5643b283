use launcher::Progress;
use launcher::binaries::tools::{self, Tool};
use launcher::run_as::remove_any;
use serde_json::json;
use tokio::process::Command;

use super::*;

fn info() -> StackInfo {
    let server = |port: u16| json!({"url": format!("http://127.0.0.1:{port}"), "pid": 1});
    let gateway = |port: u16| {
        json!({"baseUrl": "https://localhost", "apiUrl": "https://localhost/api",
               "internalUrl": format!("http://127.0.0.1:{port}"), "pid": 1})
    };
    let services = json!({"inventory": server(3), "housekeeping": server(4), "staff": server(5)});
    let info = json!({
        "launcherPid": 1, "gateway": gateway(1), "secondGateway": gateway(2), "caFile": "/ca.pem",
        "iam": {"issuer": "i"}, "internal": {"issuer": "i", "audience": "a", "accounts": {}},
        "services": services, "standIns": server(6),
        "postgres": {"pid": 1, "adminUrl": "u", "urls": {}},
        "redis": {"session": server(7), "cache": server(8)}, "operators": [],
    });
    serde_json::from_value(info).unwrap()
}

fn programs(info: &StackInfo) -> Programs<'_> {
    Programs { info, uptime: SocketAddr::from(([127, 0, 0, 1], 9)) }
}

fn generated(scale: Scale) -> anyhow::Result<Generated> {
    Generated::new(programs(&info()), scale)
}

#[test]
fn every_program_of_the_stack_is_scraped_and_its_readiness_probed() {
    let generated = generated(Scale::TEN).unwrap();
    let text = &generated.text;
    for lines in [
        "  - job_name: bff-backoffice\n",
        "  - job_name: bff-backoffice-readiness\n    metrics_path: /health/ready\n",
        "      - targets: [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n",
        "  - job_name: stand-ins\n    static_configs:\n      - targets: [\"127.0.0.1:6\"]\n",
        "  - job_name: bff-backoffice-uptime\n    metrics_path: /probe\n",
        "      - targets: [\"127.0.0.1:9\"]\n",
        "  scrape_interval: 1s\n",
    ] {
        assert!(text.contains(lines), "no {lines} in {text}");
    }
    for port in 1..=6 {
        assert!(text.contains(&format!("\"127.0.0.1:{port}\"")), "{port} is not in {text}");
    }
    assert!(!text.contains("localhost"), "{text}");
    assert_eq!(generated.targets, 7);
}

#[test]
fn the_intervals_at_scale_one_are_those_of_production() {
    let generated = generated(Scale::ONE).unwrap();
    assert!(generated.text.contains("  scrape_interval: 5s\n"), "{}", generated.text);
    assert_eq!(generated.evaluation_interval, Duration::from_secs(5));
}

#[test]
fn a_job_without_a_program_is_refused() {
    let refused = format!("{:#}", targets("payments", programs(&info())).unwrap_err());
    assert!(refused.contains("payments") && refused.contains("config.rs"), "{refused}");
}

#[tokio::test]
async fn promtool_accepts_the_generated_files_at_every_scale() {
    let promtool = tools::find(Tool::Promtool, &Progress::quiet()).await.unwrap();
    for scale in ["1", "10", "60", "1000"] {
        let name = format!("prometheus-{scale}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let generated = generated(scale.parse().unwrap()).unwrap();
        let config = generated.write(&folder).unwrap();
        let mut commands = vec![vec!["check", "config"], vec!["check", "rules"]];
        commands[0].push(config.to_str().unwrap());
        let files = generated.rules.files.iter().map(|(name, _)| folder.join(name));
        let files: Vec<PathBuf> = files.collect();
        commands[1].extend(files.iter().map(|file| file.to_str().unwrap()));
        for command in commands {
            let output = Command::new(&promtool).args(&command).output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "at scale {scale}, {command:?}: {said}");
        }
        remove_any(&folder).unwrap();
    }
}

#[test]
fn every_alert_keeps_its_name_and_has_a_limit() {
    let generated = generated(Scale::TEN).unwrap();
    let mut alerts = 0;
    for (name, scaled) in &generated.rules.files {
        let names = |text: &str| {
            let names = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        let (own, scaled) = (names(&read(&format!("ops/{name}")).unwrap()), names(scaled));
        assert_eq!(own, scaled, "{name}");
        for alert in &own {
            let timing = generated.rules.timing(alert, Scale::TEN).unwrap();
            assert!(timing.fires_within >= Duration::from_secs(10), "{alert}: {timing:?}");
        }
        alerts += own.len();
    }
    assert!(alerts > 40, "only {alerts} alerts were found");
}
