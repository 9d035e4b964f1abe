//! `sunup schema`: what editors need to complete and check a configuration.

use super::exit::Exit;
use super::show;

/// A test holds it to the keys that the reader of the file knows.
const SCHEMA: &str = include_str!("../../config/sunup.schema.json");

pub(super) fn main() -> Exit {
    show::raw(SCHEMA);
    Exit::Done
}
