//! A program of another language that does the same work, and how both are compared.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A script that reads its task from a file, then answers a line for each line that it gets.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a script of this folder with a task.
    pub fn start(python: &Path, script: &str, task: &Value) -> Self {
        let path = std::env::temp_dir().join(format!("querent-bench-{}.json", std::process::id()));
        std::fs::write(&path, task.to_string()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(script);
        let mut child = Command::new(python)
            .arg(script)
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// What it says of one round.
    pub fn round(&mut self, kind: &str) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{kind}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Prints the median of some rounds, and their spread.
pub fn shown(name: &str, values: &[f64], unit: &str) {
    let (least, most) = values
        .iter()
        .fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
    println!(
        "{name}: {:.2} {unit} (median of {}; {least:.2} to {most:.2})",
        median(values),
        values.len()
    );
}
