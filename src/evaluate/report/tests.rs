use super::chart::{Bar, Dot, Parts};
use super::sections::Table;
use super::*;
use crate::evaluate::choice::{ChoiceSettings, Examples, Systems, cross_validate};
use crate::evaluate::gate::{GateSettings, judge};
use crate::evaluate::run::TurnRecord;
use crate::evaluate::tests::{KINDS, champion, compared, gain, is_kind, run};

const SCRIPT: &str = "<script>alert('1')</script>";

/// A candidate that spoils complete queries, with hostile texts wherever a text may be.
fn report() -> Report {
    let candidate = run(|idx, turn| {
        hostile(idx, turn);
        if is_kind(turn, &["complete"]) {
            gain(turn, -10.0 - (idx % 3) as f64);
        }
    });
    let mut settings = ReportSettings::default();
    settings.significance.n_resamples = 500;
    let mut report = Report::new(&candidate, &settings).unwrap();
    let comparison = compared(&candidate);
    report.verdict = Some(judge(&comparison, &GateSettings::default()).unwrap());
    report.comparisons.push(comparison);
    let systems = Systems { raw: "raw", rewritten: "gated", ruled: Some("gated") };
    let examples = Examples::of_run(&champion(), systems, "ndcg@10").unwrap();
    report.trial = Some(cross_validate(&examples, &ChoiceSettings::default()).unwrap());
    report.header.suite = format!("made up {SCRIPT}");
    report
}

fn hostile(idx: usize, turn: &mut TurnRecord) {
    turn.texts.insert("query".into(), format!("它{SCRIPT} | [x](http://evil.example) \"'>"));
    turn.texts.insert("history".into(), "</dd></dl>&<svg onload=x>\n| # `".into());
    let source = if idx.is_multiple_of(2) { SCRIPT } else { "plain" };
    turn.slices.insert("source".into(), source.into());
}

/// The names of the page's tags; fails where they do not close one another.
fn tags(html: &str) -> Vec<String> {
    let style = html.find("<style>").unwrap() + 7..html.find("</style>").unwrap();
    let page = format!("{}{}", &html[..style.start], &html[style.end..]);
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    for piece in page.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_ref(), Some(&name), "</{name}>");
        } else {
            let is_void = ["!doctype", "meta"].contains(&name.as_str()) || tag.ends_with('/');
            open.extend((!is_void).then(|| name.clone()));
            seen.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
    seen
}

#[test]
fn hostile_texts_are_text_on_the_page() {
    let html = report().html().unwrap();
    assert!(!html.contains("<script") && !html.contains("<svg onload"), "a text became a tag");
    assert!(html.contains("&lt;script&gt;"));
    let tags = tags(&html);
    assert!(!tags.iter().any(|tag| tag == "script"));
    assert!(tags.iter().filter(|tag| *tag == "svg").count() > 10);
    assert!(html.contains("它"));
}

#[test]
fn hostile_texts_are_text_in_markdown() {
    let markdown = report().markdown();
    assert!(!markdown.contains('<'), "{markdown}");
    assert!(!markdown.contains("[x]("));
    for line in markdown.lines().filter(|line| line.starts_with('|')) {
        let n_bars = line.replace("\\|", "").matches('|').count();
        assert!(n_bars >= 3 && line.ends_with('|'), "{line}");
    }
}

#[test]
fn the_page_needs_no_network_and_no_script() {
    let html = report().html().unwrap();
    let policy = html.find("default-src 'none'").unwrap();
    assert!(policy < html.find("<style>").unwrap());
    for outside in ["src=", "@import", "url(", "<link", "<iframe", "<object", "<base"] {
        assert!(!html.contains(outside), "{outside}");
    }
    for link in html.split("href=\"").skip(1) {
        assert!(link.starts_with("#part-"), "{}", &link[..40]);
    }
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("width=device-width"));
}

#[test]
fn every_slice_system_and_measure_is_on_the_page_and_in_markdown() {
    let report = report();
    let (html, markdown) = (report.html().unwrap(), report.markdown());
    for kind in KINDS {
        for slice in [format!("kind={kind}"), format!("kind+lang={kind}+zh")] {
            assert!(html.contains(&slice), "{slice}");
            assert!(markdown.contains(&markdown::plain(&slice)), "{slice}");
        }
    }
    let worst = report.comparisons[0].regressions[0].turn.as_str();
    let words = ["lang=en", "raw", "gated", "recall@10", "oracle", "Regret", "p95", "rewrite"];
    for word in words.iter().chain(&[worst, "starter", &report.digest]) {
        assert!(html.contains(word), "{word}");
        assert!(markdown.contains(&markdown::plain(word)), "{word}");
    }
    assert!(html.contains("ndcg@10 falls by 11.00 points on kind=complete"), "no reason");
    assert!(markdown.contains("The candidate is refused."));
}

#[test]
fn a_report_is_written_three_ways_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let report = report();
    let written = write(&dir.path().join("new/folder"), &report).unwrap();
    let text = fs_err::read_to_string(&written.json).unwrap();
    let back: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(back.verdict.unwrap().reasons.len(), report.verdict.unwrap().reasons.len());
    assert_eq!(back.comparisons[0].n_pairs, 300);
    assert!(fs_err::read_to_string(&written.html).unwrap().ends_with("</html>"));
    assert!(fs_err::read_to_string(&written.markdown).unwrap().starts_with("# Evaluation of"));
}

#[test]
fn a_run_alone_and_an_empty_one_make_a_page() {
    let mut bare = champion();
    let settings = ReportSettings::default();
    let html = Report::new(&bare, &settings).unwrap().html().unwrap();
    assert!(!html.contains("refused") && html.contains("All turns"));
    bare.turns.clear();
    assert!(Report::new(&bare, &settings).unwrap().html().unwrap().contains("0 turns"));
}

#[test]
fn bars_are_as_long_as_their_values() {
    let bar = |label: &str, value| Bar {
        label: label.into(),
        value,
        interval: Some((value / 2.0, 2.0 * value)),
        shown: format!("{value}"),
        class: "s0",
    };
    let svg = chart::bars("a & b", &[bar("raw", 20.0), bar("a label that is too long", 40.0)]);
    // The longest whisker, 80, takes the whole 180.
    assert!(svg.contains(r#"width="45.0""#) && svg.contains(r#"width="90.0""#), "{svg}");
    assert!(svg.contains("M146.5 13.0V21.0M146.5 17.0H214.0"), "{svg}");
    assert!(svg.contains("a label that is …<title>a label that is too long</title>"), "{svg}");
    assert!(svg.contains("aria-label=\"a &amp; b\""));
    let none = chart::bars("nothing", &[bar("raw", 0.0)]);
    assert!(none.contains(r#"width="0.0""#) && !none.contains("NaN"), "{none}");
}

#[test]
fn differences_are_coloured_by_their_interval_and_the_good_way() {
    let dot = |low: f64, high: f64| Dot {
        label: "l".into(),
        mean: (low + high) / 2.0,
        low,
        high,
        shown: String::new(),
    };
    let classes = |sign| {
        let svg = chart::dots("d", sign, &[dot(1.0, 3.0), dot(-1.0, 2.0), dot(-4.0, -2.0)]);
        let circles = svg.split("<circle class=\"").skip(1);
        circles.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(classes(1.0), ["win", "tie", "loss"]);
    assert_eq!(classes(-1.0), ["loss", "tie", "win"]);
}

#[test]
fn wins_ties_and_losses_share_the_width() {
    let svg = chart::outcomes("o", &[Parts { label: "l".into(), counts: [1, 2, 1] }]);
    assert!(svg.contains(r#"class="win" x="124.0" y="9.0" width="45.0""#), "{svg}");
    assert!(svg.contains(r#"class="tie" x="169.0" y="9.0" width="90.0""#), "{svg}");
    assert!(svg.contains("<title>loss: 1</title>") && svg.contains("n 4"));
    assert!(!chart::outcomes("o", &[Parts { label: "l".into(), counts: [0; 3] }]).contains("NaN"));
}

#[test]
fn a_terminal_gets_columns_that_line_up_and_nothing_that_steers_it() {
    let mut comparison = compared(&champion());
    comparison.candidate.system = "gated\u{1b}[31m".into();
    let text = in_columns(&comparison);
    assert!(!text.contains('\u{1b}') && text.contains("win / tie / loss"), "{text}");
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    let n_letters = |start| line(start).chars().count();
    assert_eq!(n_letters("all turns "), n_letters("kind+lang=topic_switch+zh "));
    assert!(line("all turns ").ends_with("0 / 300 / 0"));
    let wide = Table {
        caption: String::new(),
        columns: vec!["a".into(), "b".into()],
        rows: vec![vec!["中文".into(), "1".into()]],
    };
    let section = sections::Section { tables: vec![wide], ..Default::default() };
    assert!(plain::render(&[section]).ends_with("a     b\n中文  1\n"));
}
