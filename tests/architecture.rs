//! Holds the source to the rules of `src/lib.rs`: who may import whom, and what is named where.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from top to bottom; imports point to a lower line, or stay in their own room.
const FLOORS: [&[&str]; 7] = [
    &["cli"],
    &["http"],
    &["app"],
    &["service"],
    &["rewrite", "retrieve", "train", "evaluate"],
    &["model", "store"],
    &["config", "error", "telemetry"],
];
const MAX_LINES: usize = 500;
const SQL: [&str; 5] = ["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "CREATE TABLE"];
const CRASHES: [&str; 8] =
    [".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!", "dbg!", "print!", "println!"];

/// A file of `src`, by its path below it.
struct Source {
    path: String,
    /// Without comments.
    code: String,
    /// Without comments and tests; empty for a file of tests.
    served: String,
    n_lines: usize,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.trim_end_matches(".rs")
    }

    /// The rooms that the file names, by `crate::room` or, from a room's root, `super::room`.
    fn imports(&self) -> Vec<&str> {
        let is_root = self.path == format!("{}/mod.rs", self.room()) || !self.path.contains('/');
        let from_root = if is_root { Some("super::") } else { None };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let paths = ["crate::"].into_iter().chain(from_root);
        paths
            .flat_map(|start| self.code.split(start).skip(1))
            .map(|rest| &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())])
            .filter(|name| floor(name).is_some())
            .collect()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    assert!(paths.len() > 100, "{} files", paths.len());
    paths.iter().map(|path| read(path, &root)).collect()
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => collect(&path, paths),
            Some(extension) if extension == "rs" => paths.push(path),
            _ => {}
        }
    }
}

fn read(path: &Path, root: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let lines: Vec<&str> = text.lines().filter(is_code).collect();
    // A module of tests in its own file's end, `mod tests {`, is the last thing of the file.
    let opens_tests = |pair: &[&str]| pair == ["#[cfg(test)]", "mod tests {"];
    let end = lines.windows(2).position(opens_tests).unwrap_or(lines.len());
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    let served = if is_test { String::new() } else { lines[..end].join("\n") };
    Source { path, code: lines.join("\n"), served, n_lines: text.lines().count() }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn assert_none(broken: Vec<String>) {
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn imports_point_downwards() {
    let mut broken = Vec::new();
    let mut n_imports = 0;
    for source in sources().iter().filter(|source| !["main", "lib"].contains(&source.room())) {
        let (room, path) = (source.room(), &source.path);
        let Some(own) = floor(room) else { panic!("{path}: the room `{room}` has no floor") };
        for import in source.imports().into_iter().filter(|import| *import != room) {
            n_imports += 1;
            let is_below = floor(import).is_some_and(|floor| floor > own);
            let is_config = room == "config" && import == "error";
            let is_telemetry = room == "telemetry" && import == "error";
            if !is_below && !is_config && !is_telemetry {
                broken.push(format!("{path} ({room}) names crate::{import}"));
            }
        }
    }
    assert!(n_imports > 100, "only {n_imports} imports were seen");
    assert_none(broken);
}

#[test]
fn each_concern_is_named_in_its_room_only() {
    let mut broken = Vec::new();
    let mut refuse = |source: &Source, what: &str| {
        broken.push(format!("{} names {what}", source.path));
    };
    for source in sources() {
        let room = source.room();
        for word in SQL.iter().filter(|word| source.served.contains(*word)) {
            if room != "store" {
                refuse(&source, word);
            }
        }
        if room != "http" && source.code.contains("axum::") {
            refuse(&source, "axum");
        }
        let computes = room == "model" || source.path == "rewrite/rewriter.rs";
        // Tests put their numbers on the processor themselves.
        let names = |word| source.served.contains(word);
        if !computes && (names("Device") || names("candle_nn")) {
            refuse(&source, "a device");
        }
    }
    assert_none(broken);
}

#[test]
fn files_are_short_and_what_is_served_cannot_crash_or_print() {
    let mut broken = Vec::new();
    for source in sources() {
        let (path, n_lines) = (&source.path, source.n_lines);
        if n_lines > MAX_LINES {
            broken.push(format!("{path} has {n_lines} lines, more than {MAX_LINES}"));
        }
        for line in source.served.lines() {
            if CRASHES.iter().any(|call| line.contains(call)) {
                broken.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    assert_none(broken);
}
