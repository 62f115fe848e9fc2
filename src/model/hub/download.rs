//! One file: what is missing of it is fetched, however often the line breaks, and it gets its
//! name only when it is the file that the hub lists.

use std::path::{Path, PathBuf};

use fs_err::tokio::OpenOptions;
use reqwest::{Response, StatusCode};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::client::{HubClient, Trouble, pause, text_of, unreachable};
use super::digest::FileDigest;
use super::listing::senseless;
use super::repo::ModelRef;
use crate::error::{Error, Kind, Result};

const WRITE_BYTES: usize = 1 << 20;

/// What is to be fetched, and where it goes.
pub struct Download<'a> {
    pub client: &'a HubClient,
    pub model: &'a ModelRef,
    pub commit: &'a str,
    pub path: &'a str,
    pub n_bytes: u64,
    pub digest: &'a FileDigest,
    /// Its final place; what there is of it waits beside that, as `….incomplete`.
    pub blob: &'a Path,
}

impl Download<'_> {
    /// Fetches and checks the file, and returns how many bytes came over the line. `on_position`
    /// hears how much of it is there.
    ///
    /// # Errors
    /// Those of the hub, and `hub_digest` for a file that is not the one listed.
    pub async fn run(&self, on_position: &mut dyn FnMut(u64)) -> Result<u64> {
        let partial = partial(self.blob);
        let (mut n_tries, mut n_fetched) = (0, 0);
        loop {
            let held = length(&partial).await?;
            on_position(held.min(self.n_bytes));
            if held >= self.n_bytes && partial.exists() {
                break;
            }
            let before = n_fetched;
            let fetched = self.fetch(&partial, held, &mut n_fetched, on_position).await;
            if n_fetched > before {
                n_tries = 0;
            }
            if let Err(trouble) = fetched {
                pause(trouble, &mut n_tries).await?;
            }
        }
        self.put_in_place(partial).await?;
        Ok(n_fetched)
    }

    /// One request for what is behind `held`.
    async fn fetch(
        &self,
        partial: &Path,
        held: u64,
        n_fetched: &mut u64,
        on_position: &mut dyn FnMut(u64),
    ) -> Result<(), Trouble> {
        let response = self.client.open(self.model, self.commit, self.path, held).await?;
        if text_of(response.headers(), "x-repo-commit").is_some_and(|commit| commit != self.commit)
        {
            return Err(senseless("a file is of another commit than was asked for").into());
        }
        let goes_on = goes_on_from(&response, held);
        if response.status() == StatusCode::PARTIAL_CONTENT && !goes_on {
            return Err(senseless("it sends another part of a file than was asked for").into());
        }
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            remove(partial).await?;
            let error = senseless("it has less of a file than we have");
            return Err(Trouble::Passing { error, after: None });
        }
        let mut options = OpenOptions::new();
        let options = options.create(true).write(true).append(goes_on).truncate(!goes_on);
        let file = options.open(partial).await.map_err(Error::from)?;
        let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
        let mut position = if goes_on { held } else { 0 };
        let copied = self.copy(response, &mut file, &mut position, n_fetched, on_position).await;
        // What came before the line broke is kept for the next try.
        file.flush().await.map_err(Error::from)?;
        file.get_ref().sync_all().await.map_err(Error::from)?;
        copied
    }

    async fn copy(
        &self,
        mut response: Response,
        file: &mut BufWriter<fs_err::tokio::File>,
        position: &mut u64,
        n_fetched: &mut u64,
        on_position: &mut dyn FnMut(u64),
    ) -> Result<(), Trouble> {
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            file.write_all(&chunk).await.map_err(Error::from)?;
            *position += chunk.len() as u64;
            *n_fetched += chunk.len() as u64;
            // A file that never ends must not fill the disk; the check refuses it.
            if *position > self.n_bytes {
                break;
            }
            on_position(*position);
        }
        if *position < self.n_bytes {
            let message = format!("the hub broke off within {}", self.path);
            let error = Error::new(Kind::Unavailable, "hub_unreachable", message);
            return Err(Trouble::Passing { error, after: None });
        }
        Ok(())
    }

    async fn put_in_place(&self, partial: PathBuf) -> Result<()> {
        let (wanted, n_bytes) = (self.digest.clone(), self.n_bytes);
        let checked = partial.clone();
        let is_right = tokio::task::spawn_blocking(move || {
            Ok::<_, Error>(checked.metadata()?.len() == n_bytes && wanted.matches(&checked)?)
        });
        if is_right.await.map_err(|source| Error::failed("check a file", source))?? {
            return Ok(fs_err::tokio::rename(&partial, self.blob).await?);
        }
        remove(&partial).await?;
        let message = format!(
            "{} of {} came otherwise than the hub lists it and was thrown away; pull again",
            self.path, self.model
        );
        Err(Error::new(Kind::Unavailable, "hub_digest", message))
    }
}

/// Where what there is of a blob waits for the rest.
pub fn partial(blob: &Path) -> PathBuf {
    let mut name = blob.as_os_str().to_owned();
    name.push(".incomplete");
    PathBuf::from(name)
}

/// Whether the answer is the rest behind `held` and nothing else.
fn goes_on_from(response: &Response, held: u64) -> bool {
    let range = text_of(response.headers(), "content-range").unwrap_or_default();
    response.status() == StatusCode::PARTIAL_CONTENT && range.starts_with(&format!("bytes {held}-"))
}

async fn length(path: &Path) -> Result<u64> {
    match fs_err::tokio::metadata(path).await {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

async fn remove(path: &Path) -> Result<()> {
    match fs_err::tokio::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
