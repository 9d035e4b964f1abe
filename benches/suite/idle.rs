//! What the daemon weighs while it waits.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::figures::{Figures, Goal};
use crate::lateness::CHILD;
use crate::place::{Ended, Failure, Place, pause, used};

/// So long after a start its memory is looked at.
const SETTLED: Duration = Duration::from_secs(10);
/// So long nothing happens.
const WATCHED: Duration = Duration::from_secs(60);

pub(crate) fn measure(figures: &mut Figures, runs: usize) -> Result<(), Failure> {
    for (rules, most) in [(10, 16.0), (10_000, 64.0)] {
        let place = Place::new(1, "1s..1s")?;
        place.configure(&daily(rules))?;
        let memory: Result<Vec<f64>, Failure> = (0..runs.max(1))
            .map(|_| {
                let (daemon, _) = place.daemon()?;
                pause(SETTLED);
                Ok(used(&daemon)?.memory.0)
            })
            .collect();
        figures.note(format!("daemon, {rules} rules: memory"), "MiB", &memory?, Goal::AtMost(most));
        let (daemon, _) = place.daemon()?;
        let what = format!("daemon, {rules} rules");
        let engine = watch(figures, &what, &daemon)?;
        // Nearly all others are the housekeeping's, which is on tokio-cron-scheduler and looks each half second.
        figures.note(format!("{what}: wake-ups of the engine"), "a minute", &[engine], Goal::None);
    }
    let place = Place::new(1, "1s..1s")?;
    let mut child = Command::new(std::env::current_exe()?);
    // Its job of each second is the least that shows that it is at work.
    let child = Ended(child.args([CHILD, &place.endpoint, "10"]).stdin(Stdio::null()).spawn()?);
    let what = "bare tokio-cron-scheduler, 10 jobs, one each second";
    watch(figures, what, &child)?;
    figures.note(format!("{what}: memory"), "MiB", &[used(&child)?.memory.0], Goal::None);
    Ok(())
}

/// What a process does while nothing is due. Returns how often its engine woke, where it has one.
fn watch(figures: &mut Figures, what: &str, process: &Ended) -> Result<f64, Failure> {
    pause(SETTLED);
    let before = used(process)?;
    pause(WATCHED);
    let after = used(process)?;
    // The watched minute, sixty times.
    figures.note(format!("{what}: CPU"), "s an hour", &[(after.cpu - before.cpu) * 60.0], Goal::None);
    figures.note(format!("{what}: wake-ups"), "a minute", &[after.switches - before.switches], Goal::None);
    Ok(after.engine_switches - before.engine_switches)
}

/// Rules that are due once a year, with at most a thousand different expressions.
pub(crate) fn daily(rules: usize) -> String {
    let mut text = String::from("[groups.web]\nservers = [\"1001\"]\n");
    for rule in 0..rules {
        let one = rule % 1000;
        text.push_str(&format!(
            "[rules.r{rule}]\ncron = \"{} {} 1 1 *\"\nstart = [\"web\"]\n",
            one % 60,
            one / 60
        ));
    }
    text
}
