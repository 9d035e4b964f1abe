//! What the daemon weighs while it waits.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::figures::{Figures, Goal};
use crate::lateness::CHILD;
use crate::place::{Ended, Failure, Place, pause, used};

/// So long nothing happens.
const WATCHED: Duration = Duration::from_secs(60);

pub(crate) fn measure(figures: &mut Figures, _: usize) -> Result<(), Failure> {
    for (rules, most) in [(10, 16.0), (10_000, 64.0)] {
        let place = Place::new(1, "1s..1s")?;
        place.configure(&daily(rules))?;
        let (daemon, _) = place.daemon()?;
        note(figures, &format!("daemon, {rules} rules"), &daemon, Goal::AtMost(most))?;
    }
    let place = Place::new(1, "1s..1s")?;
    let mut child = Command::new(std::env::current_exe()?);
    // Its job of each second is the least that shows that it is at work.
    let child = Ended(child.args([CHILD, &place.endpoint, "10"]).stdin(Stdio::null()).spawn()?);
    note(figures, "bare tokio-cron-scheduler, 10 jobs, one each second", &child, Goal::None)
}

fn note(figures: &mut Figures, what: &str, process: &Ended, memory: Goal) -> Result<(), Failure> {
    pause(Duration::from_secs(5));
    let before = used(process)?;
    pause(WATCHED);
    let after = used(process)?;
    figures.note(format!("{what}: memory"), "MiB", &[after.memory.0], memory);
    figures.note(format!("{what}: CPU"), "ms/min", &[(after.cpu - before.cpu) * 1000.0], Goal::None);
    figures.note(format!("{what}: wake-ups"), "a minute", &[after.switches - before.switches], Goal::None);
    Ok(())
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
