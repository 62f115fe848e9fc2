//! What the end of a process means; the processes are scripts. The program itself is asked in
//! `tests/uploads.rs`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use super::*;
use crate::config::Config;

fn parsers(program: &Path) -> Parsers {
    let mut parsers = Parsers::new(program.to_owned(), &Config::default().ingest);
    parsers.patience = Duration::from_secs(1);
    parsers
}

/// A program that ignores what it is told and does `script`.
fn program(dir: &Path, name: &str, script: &str) -> PathBuf {
    let path = dir.join(name);
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}

#[tokio::test]
async fn every_end_of_a_process_has_a_reason() {
    let document = r#"{"document":{"title":null,"text":"文","headings":[],"kept_whole":[]}}"#;
    let refusal = |code: &str| {
        format!(
            "cat > /dev/null; echo '{{\"refusal\":{{\"code\":\"{code}\",\"message\":\"why\"}}}}'"
        )
    };
    let cases = [
        ("good", format!("cat > /dev/null; echo '{document}'"), ""),
        ("deaf", format!("echo '{document}'"), ""),
        ("refuses", refusal("document_without_text"), "document_without_text"),
        ("invents", refusal("internal"), "document_unreadable"),
        ("unconfined", refusal("parser_unavailable"), "parser_unavailable"),
        ("fails", "exit 1".into(), "document_unreadable"),
        ("mumbles", "echo '{'".into(), "document_unreadable"),
        ("silent", "exit 0".into(), "document_unreadable"),
        ("aborts", "kill -ABRT $$".into(), "document_too_complex"),
        ("overflows", "kill -SEGV $$".into(), "document_too_complex"),
        ("computes", "kill -XCPU $$".into(), "document_too_slow"),
        ("hangs", "exec sleep 600".into(), "document_too_slow"),
        ("floods", "exec yes".into(), "document_too_complex"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let programs: Vec<PathBuf> =
        cases.iter().map(|(name, script, _)| program(dir.path(), name, script)).collect();
    for ((name, _, code), path) in cases.iter().zip(&programs) {
        let started = Instant::now();
        let mut parsers = parsers(path);
        if *name == "floods" {
            parsers.patience = Duration::from_secs(30);
        }
        let content = vec![b'x'; 1 << 20];
        match parsers.parse("text/html", content).await {
            Ok(document) => assert_eq!((*code, document.text.as_str()), ("", "文"), "{name}"),
            Err(error) => assert_eq!(error.code, *code, "{name}: {error}"),
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{name}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_our_fault() {
    let parsers = parsers(Path::new("/nowhere/querent"));
    let error = parsers.parse("text/html", vec![]).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Unavailable, "parser_not_started"));
    // What is not confined needs no program.
    let document = parsers.parse("text/markdown", b"# A".to_vec()).await.unwrap();
    assert_eq!(document.text, "A");
}

#[test]
fn a_subverted_process_cannot_mislead_us() {
    let parsers = parsers(Path::new("querent"));
    let answer = |json: &str| parsers.document(ExitStatus::from_raw(0), json.as_bytes());
    for document in [
        r#"{"title":null,"text":"文","headings":[{"level":1,"title":"文","at":1}],"kept_whole":[]}"#,
        r#"{"title":null,"text":"文","headings":[{"level":7,"title":"文","at":0}],"kept_whole":[]}"#,
        r#"{"title":null,"text":"文","headings":[],"kept_whole":[{"start":1,"end":0}]}"#,
        r#"{"title":null,"text":"文","headings":[],"kept_whole":[{"start":0,"end":2}]}"#,
    ] {
        let error = answer(&format!("{{\"document\":{document}}}")).unwrap_err();
        assert_eq!(error.code, "document_unreadable", "{document}");
    }
    let long = "x".repeat(Config::default().ingest.max_document_bytes + 1);
    let long =
        format!(r#"{{"document":{{"title":null,"text":"{long}","headings":[],"kept_whole":[]}}}}"#);
    assert_eq!(answer(&long).unwrap_err().code, "document_too_complex");
    let rude = format!(r#"{{"refusal":{{"code":"x","message":"\u0007{}"}}}}"#, "长".repeat(5_000));
    let error = answer(&rude).unwrap_err();
    assert_eq!(error.message.chars().count(), MAX_REASON_CHARS);
    assert!(!error.message.contains('\u{7}'));
}
