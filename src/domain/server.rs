//! What the codes of a server say about starting or stopping it. The provider's texts are for display only.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::name::Action;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A code that the provider's documentation does not name.
            Other(String),
        }

        impl $name {
            /// Reads a code. Unknown ones are kept as they are.
            #[must_use]
            pub fn from_code(code: &str) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }

            /// The code as the cloud writes it.
            #[must_use]
            pub fn code(&self) -> &str {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Other(code) => code,
                }
            }
        }
    };
}

codes! {
    /// `serverInstanceStatus.code`: where a server stands.
    Status {
        /// Being initialised.
        Init = "INIT",
        /// Created, not yet running.
        Created = "CREAT",
        /// Running.
        Run = "RUN",
        /// Stopped normally.
        Stopped = "NSTOP",
        /// Terminated.
        Terminated = "TERMT",
        /// Stopped by a failure.
        StoppedByFailure = "FSTOP",
        /// A failure code, documented as a start failure.
        ShutdownFailed = "SD_FL",
        /// Restart failed.
        RestartFailed = "RS_FL",
        /// Start failed.
        StartFailed = "ST_FL",
    }
}

codes! {
    /// `serverInstanceOperation.code`: what is going on with a server.
    Operation {
        /// Nothing in progress: the four letters `NULL`.
        Null = "NULL",
        /// Starting.
        Start = "START",
        /// Shutting down.
        Shutdown = "SHTDN",
        /// Restarting.
        Restart = "RESTA",
        /// Terminating.
        Terminate = "TERMT",
        /// Being created.
        Create = "CREAT",
        /// Being configured, such as a disk attached.
        Setup = "SETUP",
        /// Changing its spec.
        Change = "CHNG",
        /// Being copied.
        Copy = "COPY",
        /// Migrating.
        Migrate = "MIGRA",
        /// Forced restart.
        ForcedRestart = "HREST",
        /// Forced shutdown.
        ForcedShutdown = "HSHTD",
    }
}

/// Both codes of a server, as one read showed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Where it stands.
    pub status: Status,
    /// What is going on.
    pub operation: Operation,
}

impl Condition {
    /// Reads the two codes.
    #[must_use]
    pub fn from_codes(status: &str, operation: &str) -> Self {
        Self { status: Status::from_code(status), operation: Operation::from_code(operation) }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.status.code(), self.operation.code())
    }
}

/// What a condition means for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Where the action leads, with nothing in progress.
    Goal,
    /// Moving towards it.
    OnItsWay,
    /// The action can be asked for.
    Askable,
    /// It can be tried once: whether the cloud takes it from here is not documented.
    AskableOnce,
    /// Something else is going on: wait.
    Busy,
    /// The server is terminated or being terminated.
    Gone,
}

impl Condition {
    /// What this condition means for the action.
    #[must_use]
    pub fn standing(&self, action: Action) -> Standing {
        if self.status == Status::Terminated || self.operation == Operation::Terminate {
            return Standing::Gone;
        }
        match action {
            Action::Start => self.standing_for_start(),
            Action::Stop => self.standing_for_stop(),
        }
    }

    /// Whether the server is down at rest, however it got there, or gone: nothing runs on it and nothing is about to.
    #[must_use]
    pub fn is_down(&self) -> bool {
        let at_rest = self.operation == Operation::Null
            && matches!(self.status, Status::Stopped | Status::StoppedByFailure | Status::StartFailed);
        at_rest || self.standing(Action::Stop) == Standing::Gone
    }

    fn standing_for_start(&self) -> Standing {
        match (&self.status, &self.operation) {
            (Status::Run, Operation::Null) => Standing::Goal,
            (_, Operation::Start) => Standing::OnItsWay,
            (_, Operation::Shutdown | Operation::ForcedShutdown) => Standing::Busy,
            (Status::Run, _) => Standing::OnItsWay,
            (Status::Stopped, Operation::Null) => Standing::Askable,
            (
                Status::StoppedByFailure
                | Status::ShutdownFailed
                | Status::RestartFailed
                | Status::StartFailed,
                Operation::Null,
            ) => Standing::AskableOnce,
            _ => Standing::Busy,
        }
    }

    fn standing_for_stop(&self) -> Standing {
        match (&self.status, &self.operation) {
            (Status::Stopped, Operation::Null) => Standing::Goal,
            (_, Operation::Shutdown | Operation::ForcedShutdown) => Standing::OnItsWay,
            (Status::Run, Operation::Null) => Standing::Askable,
            _ => Standing::Busy,
        }
    }
}

/// What a list tells of a server beside its state. Fields that the answer lacks are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    /// `serverName`, if it has one.
    pub name: Option<String>,
    /// `vpcNo`.
    pub vpc: String,
    /// `subnetNo`.
    pub subnet: String,
    /// `zoneCode`.
    pub zone: String,
    /// `serverSpecCode`.
    pub spec: String,
    /// `hypervisorType.code`.
    pub hypervisor: String,
    /// `serverProductCode`.
    pub product: String,
    /// `serverInstanceType.code`.
    pub kind: String,
}

/// What a complete read showed of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The server was in the answer.
    Server(Condition),
    /// The answer was complete and the server was not in it.
    Absent,
}

/// One read of one server's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// When the read began: only what happened before it can be in it.
    pub began: Timestamp,
    /// What it showed.
    pub found: Found,
}

/// How long after a server was seen running a read must begin that is to show that somebody stopped it: lists may be stale for a while.
pub const SHOWS_AFTER: Duration = Duration::from_secs(10);

impl Sight {
    /// Whether it shows a server that is off, and began after a moment at which that server ran. A failure state is nobody's deed.
    #[must_use]
    pub fn shows_stopped_since(&self, ran: Timestamp) -> bool {
        let is_off = match &self.found {
            Found::Server(condition) => condition.standing(Action::Start) == Standing::Askable,
            Found::Absent => false,
        };
        is_off && self.began >= ran.saturating_add(SHOWS_AFTER).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_pair_of_codes_has_one_meaning_for_each_action() {
        use Standing::{Askable, AskableOnce, Busy, Goal, Gone, OnItsWay};
        let table = [
            ("RUN", "NULL", Goal, Askable),
            ("NSTOP", "NULL", Askable, Goal),
            ("NSTOP", "START", OnItsWay, Busy),
            ("RUN", "START", OnItsWay, Busy),
            ("RUN", "SETUP", OnItsWay, Busy),
            ("RUN", "RESTA", OnItsWay, Busy),
            ("RUN", "HREST", OnItsWay, Busy),
            ("RUN", "SHTDN", Busy, OnItsWay),
            ("RUN", "HSHTD", Busy, OnItsWay),
            ("NSTOP", "SHTDN", Busy, OnItsWay),
            ("NSTOP", "CHNG", Busy, Busy),
            ("NSTOP", "COPY", Busy, Busy),
            ("FSTOP", "NULL", AskableOnce, Busy),
            ("ST_FL", "NULL", AskableOnce, Busy),
            ("SD_FL", "NULL", AskableOnce, Busy),
            ("RS_FL", "NULL", AskableOnce, Busy),
            ("TERMT", "NULL", Gone, Gone),
            ("RUN", "TERMT", Gone, Gone),
            ("INIT", "NULL", Busy, Busy),
            ("CREAT", "SETUP", Busy, Busy),
            ("WEIRD", "NULL", Busy, Busy),
            ("NSTOP", "WEIRD", Busy, Busy),
            ("RUN", "WEIRD", OnItsWay, Busy),
        ];

        for (status, operation, start, stop) in table {
            let condition = Condition::from_codes(status, operation);
            assert_eq!(condition.standing(Action::Start), start, "start {condition}");
            assert_eq!(condition.standing(Action::Stop), stop, "stop {condition}");
            assert_eq!(condition.to_string(), format!("{status}/{operation}"));
        }
    }
}
