//! Time zones by name, and a word about names that look like zones and are none.

use jiff::tz::TimeZone;

use super::diagnostics::{Problem, did_you_mean};
use super::raw::At;
use super::resolve::Resolver;

/// Abbreviations that people write, with a place whose clocks show them. Several places share some.
const ABBREVIATIONS: [(&str, &str); 25] = [
    ("KST", "Asia/Seoul"),
    ("JST", "Asia/Tokyo"),
    ("CST", "America/Chicago` or `Asia/Shanghai"),
    ("CDT", "America/Chicago"),
    ("EST", "America/New_York"),
    ("EDT", "America/New_York"),
    ("EST5EDT", "America/New_York"),
    ("CST6CDT", "America/Chicago"),
    ("MST", "America/Denver"),
    ("MDT", "America/Denver"),
    ("MST7MDT", "America/Denver"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("PST8PDT", "America/Los_Angeles"),
    ("HST", "Pacific/Honolulu"),
    ("GMT", "Etc/UTC` or `Europe/London"),
    ("BST", "Europe/London"),
    ("WET", "Europe/Lisbon"),
    ("CET", "Europe/Paris"),
    ("MET", "Europe/Paris"),
    ("CEST", "Europe/Paris"),
    ("EET", "Europe/Athens"),
    ("IST", "Asia/Kolkata` or `Europe/Dublin"),
    ("SGT", "Asia/Singapore"),
    ("AEST", "Australia/Sydney"),
];

impl Resolver<'_> {
    /// The zone of a name of the time zone database.
    pub(super) fn zone(&mut self, zone: &At<String>) -> Option<TimeZone> {
        let upper = zone.value.to_ascii_uppercase();
        let place = ABBREVIATIONS.iter().find(|(name, _)| *name == upper).map(|(_, place)| *place);
        if let Ok(found) = TimeZone::get(&zone.value) {
            if let Some(place) = place {
                let title = format!("`{}` is an abbreviation of a time zone", zone.value);
                let cause = "it may stay on one offset all year, or stand for several places";
                let remedy = format!("name a place: `{place}`");
                self.problems.push(Problem::warning(zone.span.clone(), title, cause, remedy));
            }
            return Some(found);
        }
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let remedy = match (place, did_you_mean(&zone.value, known.iter().map(String::as_str))) {
            (Some(place), _) => format!("abbreviations name no zone; name a place: `{place}`"),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => {
                "use a name of the time zone database, such as `Asia/Seoul`; abbreviations name no zone"
                    .into()
            }
        };
        self.error(zone, format!("unknown time zone `{}`", zone.value), "no such zone", &remedy);
        None
    }
}
