//! Where log lines go and what they look like: text for people, JSON for programs, fields for the system's journal.

use std::fmt;
use std::io::IsTerminal;

use jiff::tz::TimeZone;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::clock::SystemClock;
use super::environment;
use crate::ports::clock::Clock;
use crate::settings::{LogFormat, LogLevel};

/// Begins to log on standard error, or to the system's journal. A second call changes nothing.
///
/// Without a format, where standard error goes decides: the journal, a terminal, or anything else (JSON).
pub fn begin(format: Option<LogFormat>, level: LogLevel, zone: TimeZone) {
    let filter = EnvFilter::new(match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,sunup=info",
        // The housekeeping's crate tells of its inner life at `info`.
        LogLevel::Debug => "info,sunup=debug,tokio_cron_scheduler=warn",
        LogLevel::Trace => "trace",
    });
    let format = format.unwrap_or_else(by_where_it_goes);
    let registry = tracing_subscriber::registry().with(filter);
    if format == LogFormat::Journald
        && let Ok(journal) = tracing_journald::layer()
    {
        // Only the first call of a process counts; a test may begin several times.
        let _ = registry.with(journal).try_init();
        return;
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Text => {
            let colored = std::io::stderr().is_terminal() && environment::variable("NO_COLOR").is_none();
            registry.with(lines.with_ansi(colored).event_format(ForPeople { zone })).try_init()
        }
        LogFormat::Json | LogFormat::Journald => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

fn by_where_it_goes() -> LogFormat {
    if environment::variable("JOURNAL_STREAM").is_some() {
        LogFormat::Journald
    } else if std::io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    }
}

/// Time in the configuration's zone, level, and the message, which says everything that the fields do.
struct ForPeople {
    zone: TimeZone,
}

impl<S, N> FormatEvent<S, N> for ForPeople
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = SystemClock.now().to_zoned(self.zone.clone());
        let level = *event.metadata().level();
        let mut message = Message(String::new());
        event.record(&mut message);
        write!(writer, "{} ", now.strftime("%Y-%m-%d %H:%M:%S%.3f"))?;
        match (writer.has_ansi_escapes(), level) {
            (true, Level::ERROR) => write!(writer, "\u{1b}[31;1merror\u{1b}[0m ")?,
            (true, Level::WARN) => write!(writer, "\u{1b}[33;1mwarn\u{1b}[0m  ")?,
            (_, level) => write!(writer, "{:5} ", level.as_str().to_ascii_lowercase())?,
        }
        writeln!(writer, "{}", message.0)
    }
}

/// The message of an event, without its other fields.
struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
