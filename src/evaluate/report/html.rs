//! The sections as one HTML page: `page.html` with the styles and nothing from elsewhere.

use minijinja::{Environment, context};

use super::sections::Section;
use crate::error::{Error, Result};
use crate::evaluate::gate::Verdict;

/// The ending turns escaping on.
const NAME: &str = "page.html";
const PAGE: &str = include_str!("page.html");

/// The whole page.
///
/// # Errors
/// When the template does not fit: a fault of ours.
pub fn render(title: &str, verdict: Option<&Verdict>, sections: &[Section]) -> Result<String> {
    let failed = |error: minijinja::Error| Error::failed("set the page of a report", error);
    let mut environment = Environment::new();
    environment.add_template(NAME, PAGE).map_err(failed)?;
    let template = environment.get_template(NAME).map_err(failed)?;
    template.render(context! { title, verdict, sections }).map_err(failed)
}
