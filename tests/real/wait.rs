//! Waiting on a condition: the one place that pauses.

use std::time::{Duration, Instant};

/// How long any condition may take before the test is called hung.
const HANG: Duration = Duration::from_secs(90);

/// Waits until `look` finds something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now().duration_since(began) < HANG, "hung while waiting until {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "the hang limit of a test over a real process is real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition of a real process")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
