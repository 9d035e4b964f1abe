//! `plan --against FILE`: what another configuration would change.

use std::path::Path;

use super::{Options, Stretch, matching};
use crate::cli::exit::Exit;
use crate::cli::{Common, load, show};
use crate::daemon::changes::{self, Change};
use crate::daemon::view;
use crate::settings::Settings;

pub(super) fn print(
    common: &Common,
    settings: &Settings,
    options: &Options,
    other: &Path,
    stretch: Stretch,
) -> anyhow::Result<Exit> {
    let text = load::text(other)?;
    let loaded =
        load::parse(&text, other, None).map_err(|problems| load::not_valid(&problems, &text, other))?;
    let new = loaded.settings;
    let stretch_of = (stretch.from, stretch.to);
    let (before, after) = (matching(settings, options), matching(&new, options));
    let changes = changes::between((settings, &before), (&new, &after), stretch_of);
    if common.json {
        show::lines(changes.iter().map(|change| change.json().to_string()));
        return Ok(Exit::Done);
    }
    let zone = view::zone_of(Some(settings), None);
    show::word(&format!(
        "what `{}` would change from {} to {}",
        other.display(),
        view::moment(stretch.from, &zone),
        view::moment(stretch.to, &zone)
    ));
    if changes.is_empty() {
        show::word("nothing: the same occurrences for the same servers");
    }
    show::lines(changes.iter().map(Change::words));
    show::word(&changes::counted(&changes));
    Ok(Exit::Done)
}
