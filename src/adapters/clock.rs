//! The machine's clocks: the one place that reads them.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::ports::clock::{Clock, Reading, Timer, Woken};

/// The longest that a timer is armed for: a set clock wakes it in any case where the system can tell.
const ARMED_MAX: Duration = Duration::from_hours(24);
/// The longest sleep where the system cannot tell that the clock was set.
const NAP_MAX: Duration = Duration::from_secs(1);

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    fn read(&self) -> Reading {
        // A pause between two of the readings would look as if one clock had been set.
        let mut reading = read_once(Timestamp::now);
        for _ in 0..READINGS_MAX {
            if monotonic().saturating_sub(reading.awake) < READING_MAX {
                break;
            }
            reading = read_once(Timestamp::now);
        }
        reading
    }
}

/// The longest that a reading of all clocks may take to count as one moment.
const READING_MAX: Duration = Duration::from_millis(50);
/// How often it is tried to get one that short.
const READINGS_MAX: u32 = 5;

fn read_once(now: impl Fn() -> Timestamp) -> Reading {
    let awake = monotonic();
    Reading { wall: now(), boot: time_since_boot(), awake }
}

fn time_of(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn monotonic() -> Duration {
    time_of(rustix::time::ClockId::Monotonic)
}

#[cfg(target_os = "linux")]
fn time_since_boot() -> Duration {
    time_of(rustix::time::ClockId::Boottime)
}

#[cfg(not(target_os = "linux"))]
fn time_since_boot() -> Duration {
    monotonic()
}

/// The timer of this system: it must be made on the runtime that will wait for it.
///
/// # Errors
/// When the system has no timer to give.
pub fn timer() -> std::io::Result<Box<dyn Timer>> {
    #[cfg(target_os = "linux")]
    {
        Ok(Box::new(linux::WallTimer::new()?))
    }
    #[cfg(not(target_os = "linux"))]
    {
        Ok(Box::new(NapTimer))
    }
}

/// Short sleeps, reading the clock after each.
#[derive(Debug, Clone, Copy, Default)]
pub struct NapTimer;

#[async_trait(?Send)]
impl Timer for NapTimer {
    async fn until(&mut self, moment: Timestamp) -> Woken {
        let wait = Duration::try_from(moment.duration_since(SystemClock.now())).unwrap_or(Duration::ZERO);
        tokio::time::sleep(wait.min(NAP_MAX)).await;
        Woken::Due
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::OwnedFd;

    use async_trait::async_trait;
    use jiff::Timestamp;
    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use super::{ARMED_MAX, SystemClock};
    use crate::ports::clock::{Clock, Timer, Woken};

    /// A `timerfd` on the wall clock that is also woken when the clock is set.
    pub(super) struct WallTimer {
        fd: AsyncFd<OwnedFd>,
    }

    impl WallTimer {
        #[expect(
            deprecated,
            reason = "the descriptor is owned, so it stays open; the successor needs `unsafe`"
        )]
        pub(super) fn new() -> std::io::Result<Self> {
            let fd =
                timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            Ok(Self { fd: AsyncFd::new(fd)? })
        }

        fn arm(&self, moment: Timestamp) -> rustix::io::Result<()> {
            let latest = SystemClock.now().saturating_add(ARMED_MAX).unwrap_or(Timestamp::MAX);
            let at = moment.min(latest).max(Timestamp::UNIX_EPOCH);
            // Zero would disarm the timer; a moment that has passed fires at once all the same.
            let nanos = i64::from(at.subsec_nanosecond()).max(1);
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let spec = Itimerspec {
                it_interval: zero,
                it_value: Timespec { tv_sec: at.as_second(), tv_nsec: nanos },
            };
            let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
            timerfd_settime(self.fd.get_ref(), flags, &spec).map(|_| ())
        }
    }

    #[async_trait(?Send)]
    impl Timer for WallTimer {
        async fn until(&mut self, moment: Timestamp) -> Woken {
            match self.arm(moment) {
                Ok(()) => {}
                // After a step the kernel reports it here although it has armed the timer.
                Err(Errno::CANCELED) => return Woken::ClockSet,
                Err(_) => {
                    tokio::time::sleep(super::NAP_MAX).await;
                    return Woken::Due;
                }
            }
            let Ok(mut guard) = self.fd.readable().await else {
                return Woken::Due;
            };
            let mut fired = [0_u8; 8];
            let read = rustix::io::read(guard.get_inner(), &mut fired);
            guard.clear_ready();
            if read == Err(Errno::CANCELED) { Woken::ClockSet } else { Woken::Due }
        }
    }
}
