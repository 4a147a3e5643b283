//! The report's page in a real browser, by what a reader sees: titles, results, and each mark of a timeline
//! at its place, on a wide and a narrow window, light and dark.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::anyhow;
use chaos::catalog::{Catalog, DrilledRow};
use chaos::drill_env::DrillEnv;
use chaos::observations::{Observations, Step};
use chaos::report::{Report, RowResult};
use chaos::timeline::EventKind;
use launcher::binaries::tools::{self, Tool};
use launcher::progress::Progress;
use launcher::run_as::remove_any;
use serde::Deserialize;
use tokio::time::{Instant, advance};

const MEASURE: &str = include_str!("report_page/measure.js");
const WIDE: u32 = 1_280;
const NARROW: u32 = 400;
/// Contrast that WCAG 2 requires of text.
const MIN_CONTRAST: f64 = 4.5;
/// CSS pixels.
const MIN_FONT: f64 = 12.0;
/// A mark may be this far from its place, as a share of its line.
const TOLERANCE: f64 = 0.01;
/// Rows of the report, by what became of them.
const GREEN: &str = "F-5";
const BROKEN: &str = "F-18";
const FAILED: &str = "F-29";

/// What `measure.js` finds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    errors: Vec<String>,
    width: f64,
    background: f64,
    lowest_contrast: f64,
    smallest_font: f64,
    rows: Vec<ShownRow>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownRow {
    id: String,
    is_open: bool,
    summary: String,
    text: String,
    height: f64,
    marks: Vec<ShownMark>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownMark {
    kind: String,
    title: String,
    /// Share of the line that is left of it.
    at: f64,
    is_inside: bool,
}

/// What a drill observes from its fault to its end.
async fn observed(fault_held: bool) -> Observations {
    let mut seen = Observations::default();
    let pass = |seconds| advance(Duration::from_secs(seconds));
    pass(4).await;
    seen.check(Step::Steady, "every widget is ok", true, "after 4000 ms");
    seen.check(Step::Fault, "a server <is> killed & \"gone\"", true, "done");
    pass(3).await;
    seen.note_symptom(Duration::from_secs(2));
    pass(10).await;
    let (fault, now) = (Instant::now() - Duration::from_secs(13), Instant::now());
    seen.note(EventKind::Pending, fault + Duration::from_secs(7), "BffInventoryDown");
    seen.note(EventKind::Firing, now, "BffInventoryDown");
    pass(5).await;
    seen.note(EventKind::Command, Instant::now(), "bff-backoffice/upstream-down");
    seen.command_outputs.push(("bff-backoffice/upstream-down".to_owned(), "$ ls\na".to_owned()));
    seen.check(Step::User, "the last data is shown", fault_held, "2 of 90 are <b>stale</b>");
    pass(8).await;
    seen.recovered_after(Duration::from_secs(4));
    pass(9).await;
    seen.note(EventKind::Resolved, Instant::now(), "BffInventoryDown");
    pass(1).await;
    seen
}

fn row<'a>(catalog: &'a Catalog, id: &str) -> DrilledRow<'a> {
    catalog.drilled().find(|it| it.row.id == id).unwrap()
}

async fn green_and_broken(catalog: &Catalog) -> Report {
    let green = RowResult::new(row(catalog, GREEN), observed(true).await, Ok(()), false);
    let broken = RowResult::new(row(catalog, BROKEN), observed(false).await, Ok(()), false);
    let error = Err(anyhow!("no stack"));
    let failed = RowResult::new(row(catalog, FAILED), Observations::default(), error, false);
    Report::new(catalog, vec![green, broken, failed], Duration::from_secs(95))
}

/// A row whose safeguards were off and that broke as it must.
async fn sabotaged(catalog: &Catalog) -> Report {
    let it = row(catalog, GREEN);
    let mut seen = observed(true).await;
    seen.check(Step::User, &it.drill.red[0], false, "broken");
    let rows = vec![RowResult::new(it, seen, Ok(()), true)];
    let skipped = Some("F-99 a row that is left out\n".to_owned());
    Report { skipped, ..Report::new(catalog, rows, Duration::from_secs(40)) }
}

/// A browser with its own profile, which writes below the folder of the test only.
struct Browser {
    program: PathBuf,
    folder: PathBuf,
}

impl Browser {
    async fn open(name: &str) -> Self {
        let program = tools::find(Tool::Chromium, &Progress::quiet()).await.unwrap();
        let folder = DrillEnv::folder("tests").join(name);
        remove_any(&folder).unwrap();
        Self { program, folder }
    }

    fn run(&self, page: &Path, width: u32, dark: bool, action: &str) -> Vec<u8> {
        let output = Command::new("timeout")
            .args(["--kill-after=5", "60"])
            .arg(&self.program)
            .args(["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", self.folder.join("profile").display()))
            .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)))
            .arg(format!("--window-size={width},1600"))
            .arg(action)
            .arg(format!("file://{}", page.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Measures a report as the writer wrote it, and keeps a picture beside it.
    fn measure(&self, report: &Path, width: u32, dark: bool) -> Measured {
        let colors = if dark { "dark" } else { "light" };
        let picture = report.with_extension(format!("{width}-{colors}.png"));
        self.run(report, width, dark, &format!("--screenshot={}", picture.display()));
        let text = fs::read_to_string(report).unwrap();
        let first = "<script>const errors = []; addEventListener('error', (event) => \
                     errors.push(event.message));</script>";
        let text = text.replacen("<style>", &format!("{first}<style>"), 1);
        let page = report.with_extension("measured.html");
        fs::write(&page, format!("{text}<script>{MEASURE}</script>")).unwrap();
        let dom = String::from_utf8(self.run(&page, width, dark, "--dump-dom")).unwrap();
        let (_, json) = dom.split_once("<pre id=\"measured\">").unwrap();
        let (json, _) = json.split_once("</pre>").unwrap();
        let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        serde_json::from_str(&json).unwrap()
    }
}

fn check_legible(measured: &Measured, width: u32, dark: bool) {
    assert!(measured.errors.is_empty(), "{:?}", measured.errors);
    assert!(measured.width <= f64::from(width), "{} of {width} px", measured.width);
    assert_eq!(measured.background < 0.2, dark, "brightness {}", measured.background);
    assert!(measured.lowest_contrast >= MIN_CONTRAST, "contrast {}", measured.lowest_contrast);
    assert!(measured.smallest_font >= MIN_FONT, "a font of {} px", measured.smallest_font);
}

/// Checks that each event has its mark, where its time is on the line.
fn check_timeline(shown: &ShownRow, row: &RowResult) {
    assert_eq!(shown.marks.len(), row.events.len(), "{}", row.id);
    let mut last = 0.0;
    for (mark, event) in shown.marks.iter().zip(&row.events) {
        let expected = event.at_ms as f64 / row.drill_ms as f64;
        assert!(mark.is_inside, "{}: {mark:?} is not on its line", row.id);
        assert!((mark.at - expected).abs() < TOLERANCE, "{mark:?} is not at {expected}");
        assert!(mark.at > last, "{mark:?} is not right of the one before, {last}");
        assert!(mark.title.contains(event.kind.name()) && mark.title.contains(&event.what));
        last = mark.at;
    }
    let kinds: Vec<&str> = shown.marks.iter().map(|mark| mark.kind.as_str()).collect();
    let expected =
        ["fault", "symptom", "pending", "firing", "command", "removed", "steady", "resolved"];
    assert_eq!(kinds, expected, "{}", row.id);
}

#[tokio::test(start_paused = true)]
async fn a_reader_sees_every_row_and_its_timeline() {
    let catalog = Catalog::load().unwrap();
    let (browser, report) = (Browser::open("report-page").await, green_and_broken(&catalog).await);
    let file = report.write(&browser.folder).unwrap();
    for (width, dark) in [(WIDE, false), (WIDE, true), (NARROW, false), (NARROW, true)] {
        let measured = browser.measure(&file, width, dark);
        check_legible(&measured, width, dark);
        let ids: Vec<&str> = measured.rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, [GREEN, BROKEN, FAILED]);
        for (shown, row) in measured.rows.iter().zip(&report.rows) {
            assert!(shown.summary.contains(&row.title), "{}", shown.summary);
            assert!(shown.height > 20.0, "{} is {} px high", shown.id, shown.height);
        }
        check_timeline(&measured.rows[0], &report.rows[0]);
        check_timeline(&measured.rows[1], &report.rows[1]);
        let results: Vec<&str> =
            measured.rows.iter().map(|row| row.summary.lines().last().unwrap()).collect();
        assert_eq!(results, ["green", "broken", "failed"]);
        let labelled = measured.rows[0].summary.contains("recovered");
        assert_eq!(labelled, width == NARROW, "figures have a heading or a label");
        let open: Vec<bool> = measured.rows.iter().map(|row| row.is_open).collect();
        assert_eq!(open, [false, true, true], "what is not as expected is open");
        for text in ["a server <is> killed & \"gone\"", "2 of 90 are <b>stale</b>"] {
            assert!(measured.rows[1].text.contains(text), "{}", measured.rows[1].text);
        }
        assert!(measured.rows[2].text.contains("failed: no stack"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_red_as_expected_is_not_shown_as_broken() {
    let catalog = Catalog::load().unwrap();
    let (browser, report) = (Browser::open("sabotage-page").await, sabotaged(&catalog).await);
    let file = report.write(&browser.folder).unwrap();
    assert!(file.ends_with("sabotage.html"));
    let measured = browser.measure(&file, WIDE, false);
    check_legible(&measured, WIDE, false);
    let [shown] = measured.rows.as_slice() else { panic!("{:?}", measured.rows) };
    check_timeline(shown, &report.rows[0]);
    assert!(!shown.is_open);
    assert_eq!(shown.summary.lines().last(), Some("red"));
}
