//! What a run is made of, before anything is asked: the suite, the models, the settings with a
//! data directory of the run's own, and the header that says all of it.

use std::path::{Path, PathBuf};

use crate::app::find_model;
use crate::config::Config;
use crate::config::database::DatabaseUrl;
use crate::error::{Error, Result};
use crate::evaluate::run::RunHeader;
use crate::model::ModelFolder;
use crate::model::files::sha256;
use crate::service::evaluation::header::{Models, header};
use crate::service::evaluation::{SessionSettings, Suite, System};

/// A run that can begin, or be gone on with.
pub struct Opened {
    pub suite: Suite,
    /// With the run's own data directory.
    pub config: Config,
    pub settings: SessionSettings,
    pub header: RunHeader,
    pub out: PathBuf,
}

/// How a suite is to be run.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub systems: Vec<String>,
    pub max_rewrite_ms: u64,
    pub seed: u64,
    /// Other models than those of the settings.
    pub model: Option<String>,
    pub embedder: Option<String>,
    /// None for a folder below the data directory.
    pub out: Option<PathBuf>,
}

/// # Errors
/// Those of the models, and `eval_options`.
pub fn open(mut config: Config, suite: Suite, wanted: &Wanted) -> Result<Opened> {
    let systems = wanted.systems.iter().map(|name| System::of_name(name.trim()));
    let settings = SessionSettings {
        systems: systems.collect::<Result<_>>()?,
        max_rewrite_ms: wanted.max_rewrite_ms.clamp(1, 60_000),
        ..SessionSettings::default()
    };
    if suite.turns.is_empty() {
        let message = format!("no turn of `{}` is left to ask", suite.name);
        return Err(Error::invalid("eval_options", message));
    }
    if let Some(model) = &wanted.model {
        config.rewriter.model.clone_from(model);
        config.rewriter.url.clear();
    }
    if let Some(embedder) = &wanted.embedder {
        config.embedder.model.clone_from(embedder);
    }
    let models = models(&mut config)?;
    let header = header(&suite, &models, &config, &settings, wanted.seed)?;
    let out = match &wanted.out {
        Some(out) => out.clone(),
        None => default_out(&config.data.dir, &header)?,
    };
    fs_err::create_dir_all(&out)?;
    config.data.dir = out.join("index");
    config.database.url = DatabaseUrl::default();
    config.vectors.url.clear();
    Ok(Opened { suite, config, settings, header, out })
}

/// Finds the models where the settings keep them, and names them by their places, so that the
/// run's own data directory needs no copies.
fn models(config: &mut Config) -> Result<Models> {
    let find = |name: &str, config: &Config| match name {
        "" => Ok(None),
        name => find_model(config, name).map(Some),
    };
    let rewriter = match config.rewriter.url.is_empty() {
        true => find(&config.rewriter.model, config)?,
        false => None,
    };
    let embedder = find(&config.embedder.model, config)?;
    let reranker = find(&config.reranker.model, config)?;
    for (name, folder) in [
        (&mut config.rewriter.model, &rewriter),
        (&mut config.embedder.model, &embedder),
        (&mut config.reranker.model, &reranker),
    ] {
        if let Some(folder) = folder {
            *name = place(folder).to_string_lossy().into_owned();
        }
    }
    Ok(Models { rewriter, embedder, reranker })
}

fn place(folder: &ModelFolder) -> PathBuf {
    folder.gguf().map_or_else(|| folder.path(""), Path::to_owned)
}

/// A folder of this header's own: the same call again goes on with it.
fn default_out(data_dir: &Path, header: &RunHeader) -> Result<PathBuf> {
    let hash = sha256(&serde_json::to_vec(header)?);
    Ok(data_dir.join("evals").join(format!("{}-{}", header.suite, &hash[..10])))
}
