//! The moments of `at`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::raw::At;
use super::resolve::Resolver;
use crate::domain::name::Action;
use crate::domain::schedule::{Moment, When};
use crate::domain::zone::{ClockChange, Resolved, resolve};

/// The most moments that one `at` may name.
const MOMENTS_MAX: usize = 1000;

pub(super) fn moments(
    resolver: &mut Resolver<'_>,
    name: &At<String>,
    at: &[At<String>],
    zone: &TimeZone,
    change: ClockChange,
    action: Action,
) -> Option<When> {
    if at.is_empty() || at.len() > MOMENTS_MAX {
        let title = format!("`at` of rule `{}` names {} moments", name.value, at.len());
        resolver.error(name, title, "out of range", &format!("name 1 to {MOMENTS_MAX} moments"));
        return None;
    }
    let mut found: Vec<Moment> = Vec::new();
    for moment in at {
        let with_offset = moment.value.parse::<Timestamp>().ok();
        let plain = moment.value.contains(['T', ' ']) && !moment.value.contains(['[', '+', 'Z']);
        let wall = moment.value.parse::<DateTime>().ok().filter(|_| plain);
        let (instants, odd) = match (with_offset, wall) {
            (Some(instant), _) => (vec![instant], None),
            (None, Some(wall)) => {
                let resolved = resolve(wall, zone, change);
                let odd = (!matches!(resolved, Resolved::Once(_))).then_some(wall);
                (resolved.instants(), odd)
            }
            (None, None) => {
                let title = format!("`{}` is no moment", moment.value);
                let remedy = "write a date and a time, such as \"2026-12-01T08:00\"";
                resolver.error(moment, title, "not understood", remedy);
                continue;
            }
        };
        if instants.is_empty() {
            let title = format!("`{}` never comes in its zone", moment.value);
            resolver.error(moment, title, "clocks jump over it", "name another time, or `gap = \"after\"`");
        }
        if instants.iter().any(|instant| instant.subsec_nanosecond() != 0) {
            let title = format!("`{}` has a fraction of a second", moment.value);
            resolver.error(moment, title, "moments are whole seconds", "remove the fraction");
        }
        found.extend(instants.into_iter().map(|at| Moment { at, odd }));
    }
    found.sort_by_key(|moment| moment.at);
    found.dedup_by_key(|moment| moment.at);
    Some(When::At { moments: found.into(), action })
}
