//! Waiting on a condition: the one place that pauses.

use std::time::{Duration, Instant};

/// How long any condition may take before the test is called hung.
pub(crate) const HANG: Duration = Duration::from_secs(90);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);
/// The same where each look starts a process: it is the machine's time that the tests would take from one another.
const LONG_PAUSE: Duration = Duration::from_millis(200);

/// Waits until `look` finds something.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_every(PAUSE, what, look)
}

/// Waits until `look` finds something, and looks seldom.
pub(crate) fn until_seldom<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_every(LONG_PAUSE, what, look)
}

fn until_every<T>(span: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now().duration_since(began) < HANG, "hung while waiting until {what}");
        pause(span);
    }
}

#[expect(clippy::disallowed_methods, reason = "the hang limit of a test over a real process is real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition of a real process")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}
