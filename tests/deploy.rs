//! What runs querent elsewhere holds to what querent is: every metric of the dashboard and of the
//! alerts exists, every setting of the compose file is one, and nothing is published to others.

use std::collections::BTreeSet;
use std::path::Path;

use querent::config::Config;
use querent::telemetry::metrics::{Stage, names};
use serde_json::Value;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The words of a text that name one of our metrics, without what a histogram adds.
fn metrics_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| {
        let is_of_process = word.starts_with("process_") && word.matches('_').count() > 1;
        word.starts_with("querent_") && *word != "querent_metrics_key" || is_of_process
    });
    ours.map(|word| {
        let ends = ["_bucket", "_sum", "_count"];
        let end = ends.iter().find_map(|end| word.strip_suffix(end));
        end.unwrap_or(word).to_owned()
    })
    .collect()
}

fn queries(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap()).collect()
}

/// cargo refuses a manifest whose benches are not there.
#[test]
fn the_image_s_layer_of_libraries_has_every_bench_of_the_manifest() {
    let (manifest, dockerfile) = (file("Cargo.toml"), file("Dockerfile"));
    let names: Vec<&str> =
        manifest.split("[[bench]]").skip(1).map(|bench| bench.split('"').nth(1).unwrap()).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        assert!(dockerfile.contains(&format!("benches/{name}.rs")), "{name}");
    }
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_exist() {
    let dashboard: Value =
        serde_json::from_str(&file("deploy/grafana/dashboards/querent.json")).unwrap();
    let of_dashboard = metrics_of(&queries(&dashboard).join("\n"));
    let of_alerts = metrics_of(&file("deploy/prometheus/rules.yml"));
    assert!(of_dashboard.len() > 12 && of_alerts.len() > 3, "{of_dashboard:?} {of_alerts:?}");
    let known: BTreeSet<&str> = names().collect();
    for name in of_dashboard.iter().chain(&of_alerts) {
        assert!(known.contains(name.as_str()), "{name} is no metric of querent");
    }
    // And everything that is measured can be seen.
    for name in &known {
        assert!(of_dashboard.contains(*name), "{name} is on no panel");
    }
    assert_eq!(Stage::Rerank.as_str(), "rerank");
}

#[test]
fn panels_have_names_ids_and_a_source_of_their_own() {
    let dashboard: Value =
        serde_json::from_str(&file("deploy/grafana/dashboards/querent.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    let titles: BTreeSet<&str> =
        panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), titles.len()), (panels.len(), panels.len()));
    let source = file("deploy/grafana/provisioning/datasources/prometheus.yml");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let uid = panel["datasource"]["uid"].as_str().unwrap();
        assert!(source.contains(&format!("uid: {uid}\n")), "{panel}");
    }
}

/// The services of the compose file with their lines. It is read by its indentation, which is two
/// spaces a level.
fn services(compose: &str) -> Vec<(String, String)> {
    let mut services: Vec<(String, String)> = Vec::new();
    let lines = compose.lines().skip_while(|line| *line != "services:").skip(1);
    for line in lines.take_while(|line| line.is_empty() || line.starts_with(' ')) {
        let name = line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(':'));
        match name.filter(|name| !name.starts_with(' ')) {
            Some(name) => services.push((name.to_owned(), String::new())),
            None => {
                let (_, text) = services.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    services
}

#[test]
fn the_compose_file_has_its_services_each_with_a_health_check() {
    let compose = file("docker-compose.yml");
    let services = services(&compose);
    let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["querent", "postgres", "qdrant", "vllm", "prometheus", "grafana"]);
    for (name, text) in &services {
        assert!(text.contains("    healthcheck:\n"), "{name} has no health check");
        assert!(text.contains("    volumes:"), "{name} keeps nothing");
        for line in text.lines().filter(|line| line.contains("ports:")) {
            assert!(line.contains("[\"127.0.0.1:"), "{name} is open to others: {line}");
        }
        let is_pinned = |line: &str| line.rsplit(':').next().is_some_and(|tag| tag != "latest");
        let image = text.lines().find(|line| line.contains("image: ")).unwrap();
        assert!(image.matches(':').count() == 2 && is_pinned(image), "{name}: {image}");
    }
    assert!(services.iter().any(|(name, text)| name == "vllm" && text.contains("[gpu]")));
}

#[test]
fn no_secret_has_a_value_in_the_compose_file() {
    for line in file("docker-compose.yml").lines() {
        let Some((name, value)) = line.trim().split_once(": ") else { continue };
        let is_secret =
            ["PASSWORD", "API_KEY", "TOKEN", "HEADERS"].iter().any(|w| name.ends_with(w));
        if is_secret {
            assert!(value.starts_with("${") && value.ends_with('}'), "{line}");
        }
    }
    let example = file(".env.example");
    for line in example.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(line.ends_with('='), "{line}");
    }
    for variable in ["POSTGRES_PASSWORD", "QDRANT_API_KEY", "GRAFANA_PASSWORD"] {
        assert!(file("docker-compose.yml").contains(&format!("${{{variable}:?")), "{variable}");
        assert!(example.contains(&format!("\n{variable}=\n")), "{variable}");
    }
}

#[test]
fn images_set_settings_that_exist() {
    let known = serde_json::to_value(Config::default()).unwrap();
    let texts = [file("docker-compose.yml"), file("Dockerfile")].join("\n");
    let mut n_settings = 0;
    for word in texts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let Some(setting) = word.strip_prefix("QUERENT__") else { continue };
        let (section, key) = setting.split_once("__").unwrap();
        let value = &known[section.to_lowercase()][key.to_lowercase()];
        assert!(!value.is_null(), "{word} is no setting");
        n_settings += 1;
    }
    assert!(n_settings > 8, "{n_settings}");
}

#[test]
fn images_are_asked_by_the_program_itself_and_do_not_run_as_root() {
    let dockerfile = file("Dockerfile");
    assert!(dockerfile.contains("CMD [\"querent\", \"health\"]"));
    let user = dockerfile.lines().rfind(|line| line.starts_with("USER ")).unwrap();
    assert_eq!(user, "USER 10001:10001");
    // What the program is compiled from must come along.
    let ignored = file(".dockerignore");
    for needed in ["src", "migrations", "models", "evals"] {
        assert!(ignored.contains(&format!("\n!{needed}\n")), "{needed}");
    }
}
