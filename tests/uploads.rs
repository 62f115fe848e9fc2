//! Files from people: every format by form, by JSON and from the command line, found afterwards;
//! and files from attackers, after which the server is as well as before.

#[path = "support/files.rs"]
mod files;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use files::{document_xml, docx, docx_of, paragraph, pdf, pdf_of, stream};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use support::{Answer, Caller, Server, run, send};

const DOCUMENTS: &str = "/v1/collections/docs/documents";
const BOUNDARY: &str = "7f3a9c";
const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const SEED: u64 = 20_261_124;
const N_MUTANTS: usize = 200;

/// A file with a word that only it has.
struct Sample {
    name: &'static str,
    media_type: &'static str,
    content: Vec<u8>,
    query: &'static str,
}

fn samples() -> Vec<Sample> {
    let sample =
        |name, media_type, content: Vec<u8>, query| Sample { name, media_type, content, query };
    let word = [
        paragraph("<w:pStyle w:val=\"1\"/>", "报销"),
        paragraph("", "出差回来后七天之内提交发票。"),
    ];
    let sheet = [(72, 760, 20, "考勤"), (72, 720, 10, "迟到三次记为旷工半天。")];
    vec![
        sample("考勤.pdf", "application/pdf", pdf("考勤制度", &[&sheet]), "迟到 旷工"),
        sample("报销.docx", DOCX, docx("报销制度", &word.concat()), "出差 发票"),
        sample(
            "leave.html",
            "text/html",
            b"<title>Leave</title><h1>Leave</h1><p>Annual leave expires in March.</p>".to_vec(),
            "annual leave",
        ),
        sample(
            "access.md",
            "text/markdown",
            b"# Badges\n\nLost badges are blocked.".to_vec(),
            "lost badges",
        ),
        sample("notes.txt", "text/plain", "茶水间每周五打扫。".into(), "茶水间"),
    ]
}

/// A form of files, each with a name and a type of its part.
fn form(files: &[(&str, &str, &[u8])], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(format!("{head}{value}\r\n").as_bytes());
    }
    for (name, media_type, content) in files {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: {media_type}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

async fn send_form(caller: &Caller, body: Vec<u8>) -> Answer {
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    send(caller.request(Method::POST, DOCUMENTS).header(CONTENT_TYPE, media_type).body(body)).await
}

async fn upload(caller: &Caller, files: &[(&str, &str, &[u8])], fields: &[(&str, &str)]) -> Value {
    let answer = send_form(caller, form(files, fields)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.body
}

/// The best result for a query.
async fn best(caller: &Caller, query: &str) -> Value {
    let body = json!({"query": query, "collection": "docs", "mode": "never"});
    let answer = caller.post("/v1/search", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["results"][0].clone()
}

#[tokio::test]
async fn files_of_every_format_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    caller.make("docs").await;
    let samples = samples();
    // The type of the part is not known to every client: the name then tells.
    let files: Vec<(&str, &str, &[u8])> = samples
        .iter()
        .map(|it| (it.name, "application/octet-stream", it.content.as_slice()))
        .chain([("more.jsonl", "", &br#"{"id":"line","text":"The printer is on floor 2."}"#[..])])
        .collect();
    let accepted = upload(caller, &files, &[("metadata", r#"{"source":"form"}"#)]).await;
    let task = caller.wait_for(accepted["task"].as_str().unwrap()).await;
    assert_eq!(task["status"], "succeeded", "{task}");
    for sample in &samples {
        let found = best(caller, sample.query).await;
        assert_eq!(found["uri"], sample.name, "{}: {found}", sample.query);
        assert_eq!(found["metadata"]["source"], "form", "{found}");
    }
    assert_eq!(best(caller, "printer floor").await["document_id"], "line");

    for sample in &samples {
        let content = base64(&sample.content);
        let document = json!({"id": format!("json-{}", sample.name), "content_base64": content,
            "media_type": sample.media_type});
        let form_id = best(caller, sample.query).await["document_id"].as_str().unwrap().to_owned();
        assert_eq!(caller.delete(&format!("{DOCUMENTS}/{form_id}")).await.status, 204);
        caller.ingest("docs", json!([document])).await;
        let found = best(caller, sample.query).await;
        assert_eq!(found["document_id"], format!("json-{}", sample.name), "{found}");
    }
}

#[tokio::test]
async fn a_form_is_checked_like_every_body() {
    let dir = tempfile::tempdir().unwrap();
    let limit = [("QUERENT__HTTP__MAX_BODY_BYTES", "20000")];
    let server = Server::start_with(dir.path(), &["--dev"], &limit).await;
    let caller = &server.caller;
    caller.make("docs").await;
    let file = ("a.md", "text/markdown", &b"# A"[..]);
    for (body, status) in [
        (b"no form".to_vec(), 400),
        (form(&[file], &[])[..40].to_vec(), 400),
        (form(&[], &[]), 422),
        (form(&[("a.md", "text/markdown", b"")], &[]), 422),
        (form(&[file], &[("metadata", "[]")]), 422),
        (form(&[file, file], &[("id", "a")]), 422),
        (form(&[file], &[("id", &"x".repeat(300))]), 422),
        (form(&[("a.png", "image/png", b"png")], &[]), 415),
        (form(&[("a.md", "text/markdown", &[b'x'; 30_000])], &[]), 413),
        (form(&[file], &[("id", "a")]), 202),
    ] {
        let answer = send_form(caller, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let named = caller.get(&format!("{DOCUMENTS}/a")).await;
    assert_eq!((&named.body["uri"], &named.body["title"]), (&json!("a.md"), &json!("a.md")));
}

#[tokio::test]
async fn the_command_line_takes_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("papers");
    std::fs::create_dir(&folder).unwrap();
    for sample in samples() {
        std::fs::write(folder.join(sample.name), sample.content).unwrap();
    }
    std::fs::write(folder.join("more.ndjson"), r#"{"id":"line","text":"The printer."}"#).unwrap();
    let path = folder.to_str().unwrap();
    let said = run(dir.path(), &["ingest", path, "--collection", "docs", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["documents"], 6);
    let server = Server::start(dir.path()).await;
    for sample in samples() {
        assert_eq!(best(&server.caller, sample.query).await["document_id"], sample.name);
    }
}

/// Small files of the three formats that are read apart, and forms that nobody writes.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let good = samples();
    let mut files: Vec<(&str, Vec<u8>)> =
        good.into_iter().take(3).map(|it| (it.name, it.content)).collect();
    let spaces = vec![b' '; 70 << 20];
    let deep = document_xml(&"<w:sdt>".repeat(100_000));
    let nested = format!("%PDF-1.7\n1 0 obj\n{}", "[".repeat(200_000));
    let circle = pdf_of(
        &[
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>".to_vec(),
        ],
        1,
    );
    files.push(("bomb.docx", docx_of(&[("word/document.xml", &spaces)])));
    files.push(("deep.docx", docx_of(&[("word/document.xml", deep.as_bytes())])));
    files.push(("nested.pdf", nested.into_bytes()));
    files.push(("circle.pdf", circle));
    files.push(("itself.pdf", drawing_itself(1)));
    files.push(("deep.html", "<div>".repeat(300_000).into_bytes()));
    files
}

/// A PDF whose page draws a form that draws the next one twice, and so on; the last of `n` draws
/// the first again.
fn drawing_itself(n: usize) -> Vec<u8> {
    let resources = |target: usize| format!("/Resources << /XObject << /X {target} 0 R >> >>");
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R {} >>",
            resources(5)
        )
        .into_bytes(),
        stream("", b"/X Do"),
    ];
    for index in 0..n {
        let next = 5 + (index + 1) % n;
        let entries = format!("/Type /XObject /Subtype /Form {}", resources(next));
        objects.push(stream(&entries, b"/X Do /X Do"));
    }
    pdf_of(&objects, 1)
}

/// A file with something changed.
fn mutate(content: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut content = content.to_vec();
    let at = random.random_range(0..content.len());
    match random.random_range(0..4) {
        0 => content.truncate(at),
        1 => {
            let from = random.random_range(0..other.len());
            let until = (from + random.random_range(1..200)).min(other.len());
            content.splice(at..at, other[from..until].iter().copied());
        }
        2 => {
            let until = (at + random.random_range(1..100)).min(content.len());
            content.drain(at..until);
        }
        _ => {
            for _ in 0..random.random_range(1..30) {
                let at = random.random_range(0..content.len());
                content[at] ^= 1 << random.random_range(0..8);
            }
        }
    }
    if content.is_empty() { vec![0] } else { content }
}

#[tokio::test]
async fn damaged_files_harm_only_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let limit = [("QUERENT__INGEST__PARSER_CPU_SECONDS", "2")];
    let server = Server::start_with(dir.path(), &["--dev"], &limit).await;
    let caller = &server.caller;
    caller.make("docs").await;
    caller.ingest("docs", json!([{"id": "rock", "text": "The lighthouse still stands."}])).await;
    let hostile = hostile();
    let mut random = StdRng::seed_from_u64(SEED);
    let mut files = hostile.clone();
    while files.len() < N_MUTANTS + hostile.len() {
        let (name, content) = &hostile[random.random_range(0..3)];
        let (_, other) = &hostile[random.random_range(0..3)];
        files.push((name, mutate(content, other, &mut random)));
    }
    let mut n_failed = 0;
    let mut n_indexed = 0;
    for batch in files.chunks(16) {
        let parts: Vec<(&str, &str, &[u8])> =
            batch.iter().map(|(name, content)| (*name, "", content.as_slice())).collect();
        let accepted = upload(caller, &parts, &[]).await;
        assert_eq!(caller.get("/readyz").await.status, 200);
        let task = caller.wait_for(accepted["task"].as_str().unwrap()).await;
        assert_eq!(task["done"], batch.len(), "{task}");
        assert_eq!(best(caller, "lighthouse").await["document_id"], "rock");
        for (id, (name, _)) in accepted["document_ids"].as_array().unwrap().iter().zip(batch) {
            let document = caller.get(&format!("{DOCUMENTS}/{}", id.as_str().unwrap())).await.body;
            match document["status"].as_str().unwrap() {
                "indexed" => n_indexed += 1,
                "failed" => {
                    let reason = document["error"].as_str().unwrap();
                    assert!(reason.len() > 20, "{name}: {reason}");
                    n_failed += 1;
                }
                other => panic!("{name} is {other}: {document}"),
            }
        }
    }
    assert!(n_failed > 40 && n_indexed > 40, "{n_failed} failed, {n_indexed} indexed");
}

#[tokio::test]
async fn a_file_that_takes_too_much_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let limits = [
        ("QUERENT__INGEST__PARSER_CPU_SECONDS", "1"),
        ("QUERENT__INGEST__PARSER_MEMORY_BYTES", "100000000"),
    ];
    let server = Server::start_with(dir.path(), &["--dev"], &limits).await;
    let caller = &server.caller;
    caller.make("docs").await;
    let reason = async |name: &str, content: Vec<u8>| {
        let accepted = upload(caller, &[(name, "", &content)], &[]).await;
        let task = caller.wait_for(accepted["task"].as_str().unwrap()).await;
        assert_eq!(task["status"], "failed", "{name}: {task}");
        task["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    // Every form draws the next one twice: 2 to the power of 60 of them.
    let slow = drawing_twice(60);
    let said = reason("slow.pdf", slow).await;
    assert!(said.contains("parser_cpu_seconds"), "{said}");
    let said = reason("bomb.pdf", unpacking_to(300 << 20)).await;
    assert!(said.contains("parser_memory_bytes"), "{said}");
    let said = reason("itself.pdf", drawing_itself(1)).await;
    assert!(said.contains("nested too deep"), "{said}");
    let spaces = vec![b' '; 70 << 20];
    let said = reason("bomb.docx", docx_of(&[("word/document.xml", &spaces)])).await;
    assert!(said.contains("unpacks to more than"), "{said}");
    caller.ingest("docs", json!([{"id": "after", "text": "All is well again."}])).await;
    assert_eq!(best(caller, "well again").await["document_id"], "after");
}

/// A PDF whose page draws a form that draws the next one twice; the last draws nothing.
fn drawing_twice(n: usize) -> Vec<u8> {
    let whole = String::from_utf8(drawing_itself(n)).unwrap();
    // The last form's own drawing, of the same length, so that every offset stays.
    let at = whole.rfind("/X Do /X Do").unwrap();
    let mut file = whole.into_bytes();
    file[at..at + 11].copy_from_slice(b"           ");
    file
}

/// A PDF whose page is a stream that unpacks to so many bytes.
fn unpacking_to(n_bytes: usize) -> Vec<u8> {
    let mut packed = pdf_extract::Stream::new(pdf_extract::Dictionary::new(), vec![b' '; n_bytes]);
    packed.compress().unwrap();
    pdf_of(
        &[
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>".to_vec(),
            stream("/Filter /FlateDecode", &packed.content),
        ],
        1,
    )
}

fn base64(content: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(content)
}
