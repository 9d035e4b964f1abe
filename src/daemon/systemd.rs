//! Telling systemd how the daemon is: ready, reloading, its status line, and that it is alive.

use std::time::Duration;

use jiff::tz::TimeZone;
use sd_notify::NotifyState;

use super::engine::Beat;

/// Tells systemd, if it listens, from the engine's own turns.
pub struct Notifier {
    zone: TimeZone,
    ready: bool,
    status: String,
}

impl Notifier {
    /// A notifier that shows moments in a zone.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, ready: false, status: String::new() }
    }

    /// How often the watchdog wants to hear from the engine: half of what systemd allows. `None` without a watchdog.
    #[must_use]
    pub fn alive_every() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }

    /// Takes a turn of the engine: the first one means ready, each one feeds the watchdog, news change the status line.
    pub fn beat(&mut self, beat: &Beat) {
        let status = status_line(beat, &self.zone);
        let mut states = vec![NotifyState::Watchdog];
        if !self.ready {
            self.ready = true;
            states.push(NotifyState::Ready);
        }
        if status != self.status {
            self.status = status;
            states.push(NotifyState::Status(&self.status));
        }
        tell(&states);
    }

    /// The daemon ends.
    pub fn stopping() {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // Without a socket this does nothing; with a broken one the watchdog will speak.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd could not be told: {error}");
    }
}

/// The status line that `systemctl status` shows.
#[must_use]
pub fn status_line(beat: &Beat, zone: &TimeZone) -> String {
    let mut parts = Vec::new();
    if let Some(problem) = &beat.config_problem {
        let first = problem.lines().next().unwrap_or_default();
        parts.push(format!("the configuration file is not in force: {first}"));
    }
    if let Some(held) = &beat.held {
        parts.push(format!("holding: {held}"));
    }
    parts.push(match beat.open_runs {
        0 => "idle".into(),
        1 => "1 run open".into(),
        runs => format!("{runs} runs open"),
    });
    if let Some(next) = beat.next_due {
        parts.push(format!("next at {}", next.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z")));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_says_what_an_operator_wants_to_know_first() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        let beat = Beat {
            open_runs: 1,
            next_due: Some("2026-11-23T23:50:00Z".parse().unwrap()),
            held: Some("the clock jumped by 90s".into()),
            config_problem: Some("2 problems\nmore".into()),
            calendar_problem: None,
            config_since: "2026-11-23T23:00:00Z".parse().unwrap(),
        };

        assert_eq!(
            status_line(&beat, &zone),
            "the configuration file is not in force: 2 problems; holding: the clock jumped by 90s; 1 run open; next at 2026-11-24 08:50:00 KST"
        );
    }
}
