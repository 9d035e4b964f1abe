//! What is judged: plain records with names as texts and moments in microseconds.
//!
//! Two clocks: *true* time is the cloud's, *wall* time is what the program's machine showed. [`History::clock`] says how they differ.

use std::collections::BTreeMap;

/// Microseconds: of true time since any begin, of wall time since 1970.
pub type Micros = i64;

/// One second.
pub const SECOND: Micros = 1_000_000;

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// It is to run.
    Start,
    /// It is to be stopped.
    Stop,
}

impl Deed {
    /// Reads `start` or `stop`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "start" | "startServerInstances" => Some(Self::Start),
            "stop" | "stopServerInstances" => Some(Self::Stop),
            _ => None,
        }
    }

    /// `start` or `stop`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }

    /// Whether a server in this state is where the deed takes it.
    #[must_use]
    pub fn is_goal(self, status: &str, operation: &str) -> bool {
        let wanted = match self {
            Self::Start => "RUN",
            Self::Stop => "NSTOP",
        };
        status == wanted && operation == "NULL"
    }

    /// Whether a server in this state stands still where it can be asked.
    #[must_use]
    pub fn is_askable(self, status: &str, operation: &str) -> bool {
        let from = match self {
            Self::Start => ["NSTOP", "FSTOP", "ST_FL", "SD_FL", "RS_FL"].contains(&status),
            Self::Stop => status == "RUN",
        };
        from && operation == "NULL"
    }
}

/// How sure a planned moment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sure {
    /// It must have exactly one record.
    Yes,
    /// It lies at the very edge of a change, or its time is not over: it may have one.
    Perhaps,
}

/// A moment that a rule planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The rule.
    pub rule: String,
    /// What it does.
    pub deed: Deed,
    /// The planned moment, wall time.
    pub planned: Micros,
    /// The latest that jitter may put it off to, wall time.
    pub latest: Micros,
    /// How long after due it may be acted on.
    pub window: Micros,
    /// The servers that it is about as `account/number`; `None` where that is not known.
    pub servers: Option<Vec<String>>,
    /// Whether it must have a record.
    pub sure: Sure,
}

/// A run, as the journal has it. Moments in wall time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: i64,
    /// Its rule; `None` for a person's command.
    pub rule: Option<String>,
    /// What it does.
    pub deed: Deed,
    /// The planned moment.
    pub planned: Micros,
    /// When it was due.
    pub due: Micros,
    /// The end of its window.
    pub window_end: Micros,
    /// When it was claimed.
    pub claimed: Micros,
    /// Its outcome and when it ended.
    pub ended: Option<(String, Micros)>,
    /// When it was taken back.
    pub withdrawn: Option<Micros>,
    /// Whether the servers of all its groups were known, and there were some.
    pub is_whole: bool,
    /// Whether a person had it done to servers that are kept as they are too.
    pub breaks_keeps: bool,
}

/// A target, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its run.
    pub run: i64,
    /// `account/number`.
    pub server: String,
    /// The groups that hold it, as far as that is known.
    pub groups: Vec<String>,
    /// Its outcome's word, the kind of its reason, and when it ended, in wall time.
    pub ended: Option<(String, Option<String>, Micros)>,
}

impl Target {
    /// The word of its outcome; empty while it is open.
    #[must_use]
    pub fn outcome(&self) -> &str {
        self.ended.as_ref().map_or("", |(word, _, _)| word.as_str())
    }

    /// The kind of its reason; empty where there is none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.ended.as_ref().and_then(|(_, kind, _)| kind.as_deref()).unwrap_or("")
    }
}

/// An attempt, as the journal has it. Moments in wall time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number.
    pub id: i64,
    /// What was asked.
    pub deed: Deed,
    /// For which targets: run and `account/number`.
    pub targets: Vec<(i64, String)>,
    /// When the intent was recorded.
    pub intended: Micros,
    /// When it was answered, and how: `accepted`, `refused`, `not-sent`, `unanswered` or `interrupted`.
    pub answered: Option<(Micros, String)>,
    /// The HTTP status of the answer.
    pub status: Option<i64>,
}

/// A range of missed moments, as the journal has it. Moments in wall time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Its number.
    pub id: i64,
    /// The rule.
    pub rule: String,
    /// What it would have done.
    pub deed: Deed,
    /// The first planned moment.
    pub first: Micros,
    /// The last planned moment.
    pub last: Micros,
    /// How many.
    pub count: i64,
    /// The kind of the cause.
    pub kind: String,
    /// When it was recorded.
    pub recorded: Micros,
    /// When it was taken back.
    pub withdrawn: Option<Micros>,
}

/// A pause by a person, as the journal has it. Moments in wall time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Its number.
    pub id: i64,
    /// The rule that it is of; `None` for one of a group.
    pub rule: Option<String>,
    /// From when on what is due is left undone.
    pub from: Micros,
    /// Until when: its end, or when it was ended before.
    pub until: Micros,
}

impl Pause {
    /// Whether something due at a moment falls into it.
    #[must_use]
    pub fn covers(&self, due: Micros) -> bool {
        (self.from..self.until).contains(&due)
    }
}

/// Servers that a person keeps as they are, as the journal has it. Moments in wall time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Its number.
    pub id: i64,
    /// What is not done to them.
    pub forbids: Deed,
    /// The group that it is of.
    pub group: Option<String>,
    /// The server that it is of, as `account/number`.
    pub server: Option<String>,
    /// From when on.
    pub from: Micros,
    /// Until when: its end, or when it was ended before.
    pub until: Micros,
}

impl Keep {
    /// Whether it holds at a moment.
    #[must_use]
    pub fn covers(&self, at: Micros) -> bool {
        (self.from..self.until).contains(&at)
    }
}

/// A journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// Runs.
    pub runs: Vec<Run>,
    /// Targets.
    pub targets: Vec<Target>,
    /// Attempts.
    pub attempts: Vec<Attempt>,
    /// Ranges of missed moments.
    pub missed: Vec<Missed>,
    /// Pauses by people, and single occurrences that they skip.
    pub pauses: Vec<Pause>,
    /// Servers that people keep as they are.
    pub keeps: Vec<Keep>,
}

/// A request to start or stop that the cloud saw. Moments in true time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When the program let it go.
    pub left: Micros,
    /// When it arrived.
    pub at: Micros,
    /// What was asked.
    pub deed: Deed,
    /// For which servers, as `account/number`.
    pub servers: Vec<String>,
    /// Those that it set off.
    pub took: Vec<String>,
    /// The HTTP status of the answer; 0 if none was given.
    pub status: i64,
    /// When the program had the answer; `None` if it never had one.
    pub heard: Option<Micros>,
    /// When it was signed, wall time of the program.
    pub signed: Option<Micros>,
}

/// A read of states that came back whole. Moments in true time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// When it began.
    pub began: Micros,
    /// When the program had it.
    pub ended: Micros,
    /// Server, status and operation.
    pub shown: Vec<(String, String, String)>,
}

/// A server's new state. True time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// When.
    pub at: Micros,
    /// `account/number`.
    pub server: String,
    /// `serverInstanceStatus.code`.
    pub status: String,
    /// `serverInstanceOperation.code`.
    pub operation: String,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    /// The program was not running.
    Down,
    /// It stood still.
    Stalled,
    /// The machine was suspended.
    Suspended,
    /// The clock was set, or was wrong.
    Clock,
    /// The journal could not be written.
    Store,
    /// Requests or reads failed, were slow or were lost.
    Cloud,
    /// Keys were refused.
    Keys,
    /// A person or another program changed servers.
    People,
    /// The configuration was read again.
    Reload,
}

/// A fault that happened. True time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From when.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
    /// What.
    pub wrong: Wrong,
    /// The server, where only one was meant.
    pub server: Option<String>,
}

/// A fault that was planned, and how often it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// How often it struck.
    pub hits: u64,
}

/// From a moment of true time on, the wall clock is ahead by so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// From when, true time.
    pub from: Micros,
    /// Wall time minus true time.
    pub wall_ahead: Micros,
    /// How far the clock is from the right one.
    pub wrong_by: Micros,
}

/// That a server may be started only once another one is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The server that waits.
    pub server: String,
    /// The servers that are to be up, all of them.
    pub on: Vec<String>,
}

/// All that is judged.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What the rules planned.
    pub owed: Vec<Owed>,
    /// The journal at the end.
    pub journal: Journal,
    /// The journal as it stood earlier, in order of time.
    pub snapshots: Vec<Journal>,
    /// Whether the cloud's side is known at all.
    pub cloud_known: bool,
    /// Whether it is known what went wrong: only then something can be said to have had no cause.
    pub faults_known: bool,
    /// What the cloud was asked to do.
    pub requests: Vec<Request>,
    /// What it showed.
    pub reads: Vec<Read>,
    /// What its servers did, in order of time.
    pub states: Vec<State>,
    /// When what the journal dates at a moment of wall time was recorded in true time, where that is known.
    /// A clock that was set back may show one moment twice.
    pub turns: BTreeMap<Micros, Vec<Micros>>,
    /// When attempts became durable, true time.
    pub durable: Vec<(i64, Micros)>,
    /// What went wrong.
    pub faults: Vec<Fault>,
    /// What was to go wrong.
    pub planned: Vec<Planned>,
    /// How the clocks differed, in order of time. Empty: not at all.
    pub clock: Vec<Offset>,
    /// Who waits for whom.
    pub needs: Vec<Need>,
    /// Servers that are never to be stopped.
    pub never_stopped: Vec<String>,
    /// How long a request may travel after it was signed.
    pub attempt_limit: Micros,
    /// How long a server may take, at most.
    pub boot_limit: Micros,
    /// The end of what was watched, true time.
    pub until: Micros,
    /// Everything that was written for people, and the journal's texts.
    pub texts: Vec<String>,
    /// What must not stand in them.
    pub secrets: Vec<String>,
}
