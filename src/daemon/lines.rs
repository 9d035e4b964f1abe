//! The lines of the daemon's log: one for each run's start, attempt, confirmation and outcome. Fields as in `docs/logs.md`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::name::{Action, AttemptId, GroupName, RunId, ServerId};
use crate::domain::outcome::{Outcome, RunOutcome};
use crate::domain::retry::Answer;
use crate::domain::target::{Progress, State};
use crate::ports::store::{RunHead, Target};

/// One line to be logged once its turn is durable.
#[derive(Debug, Clone)]
pub(super) enum Line {
    RunStarted {
        run: RunId,
        head: RunHead,
        servers: usize,
        /// Groups whose servers are not known yet.
        pending: Vec<GroupName>,
    },
    Learned {
        run: RunId,
        groups: Vec<GroupName>,
        servers: usize,
    },
    Asked {
        attempt: AttemptId,
        action: Action,
        servers: Vec<ServerId>,
    },
    Answered {
        attempt: AttemptId,
        action: Action,
        answer: Answer,
    },
    Target {
        run: RunId,
        action: Action,
        server: ServerId,
        name: Option<String>,
        progress: Progress,
    },
    Seen {
        server: ServerId,
        name: Option<String>,
        condition: String,
    },
    Recovered {
        run: RunId,
        server: ServerId,
    },
    Override {
        words: String,
        who: String,
    },
    RunEnded {
        run: RunId,
        head: RunHead,
        outcome: RunOutcome,
        counts: String,
        is_as_planned: bool,
        ended: Timestamp,
    },
}

/// What became of a request that was withheld.
pub(super) const WITHHELD: &str =
    "nothing was sent, since requests before it took long or failed: it is decided again";

/// So many servers that wait or move alike have a line of their own each; more of them share one.
const ALIKE_MAX: usize = 3;

/// Logs the lines of a turn. Servers of a run that wait for the same, or went on their way together, share a line.
pub(super) fn emit_all(lines: &[Line]) {
    let mut alike: BTreeMap<(RunId, String), Vec<&str>> = BTreeMap::new();
    for line in lines {
        if let Some((key, no)) = line.kin() {
            alike.entry(key).or_default().push(no);
        }
    }
    alike.retain(|_, servers| servers.len() > ALIKE_MAX);
    for line in lines {
        match line.kin().map(|(key, _)| key) {
            Some(key) if alike.contains_key(&key) => {}
            Some(_) | None => line.emit(),
        }
        // The shared line stands where the first of them would.
        if let Some((key, _)) = line.kin()
            && let Some(servers) = alike.get_mut(&key).map(std::mem::take)
            && !servers.is_empty()
        {
            let (run, words) = (key.0, &key.1);
            tracing::info!(
                run.id = run.0,
                run.servers = servers.len(),
                server.list = servers.join(" "),
                "run {run}: {} servers {words}: {}",
                servers.len(),
                servers.join(" ")
            );
        }
    }
}

impl Line {
    /// What lines of several servers have in common, where they wait or move; and the server.
    fn kin(&self) -> Option<((RunId, String), &str)> {
        let Self::Target { run, action, server, progress, .. } = self else { return None };
        let words = match &progress.state {
            State::Waiting { why: Some(why), .. } => format!("wait ({})", why.text),
            State::Moving { .. } => format!("are on their way ({action})"),
            _ => return None,
        };
        Some(((*run, words), server.no.as_str()))
    }

    /// The line of a target as it stands.
    pub(super) fn of(run: RunId, action: Action, target: &Target) -> Self {
        Self::Target {
            run,
            action,
            server: target.server.clone(),
            name: target.name.clone(),
            progress: target.progress.clone(),
        }
    }
}

fn names(groups: &[GroupName]) -> String {
    groups.iter().map(|group| format!("group {group}")).collect::<Vec<_>>().join(", ")
}

fn still_unknown(pending: &[GroupName]) -> String {
    if pending.is_empty() {
        return String::new();
    }
    format!("; the servers of {} are not known yet and are being listed", names(pending))
}

fn join(servers: &[ServerId]) -> String {
    servers.iter().map(|server| server.no.as_str()).collect::<Vec<_>>().join(" ")
}

impl Line {
    pub(super) fn emit(&self) {
        match self {
            Self::Learned { run, groups, servers } => {
                let list = names(groups);
                tracing::info!(
                    run.id = run.0,
                    run.servers = servers,
                    "run {run}: the servers of {list} are known now: {servers} more"
                );
            }
            Self::RunStarted { run, head, servers, pending } => {
                let noun = if *servers == 1 { "server" } else { "servers" };
                let late_s = head.claimed.duration_since(head.due).as_secs();
                tracing::info!(
                    run.id = run.0,
                    run.origin = head.origin.words(),
                    run.action = head.action.word(),
                    run.due = %head.due,
                    run.servers = servers,
                    run.late_s = late_s,
                    "run {run}: {} {servers} {noun} for {}{}", head.action, head.origin.words(), still_unknown(pending)
                );
            }
            Self::Asked { attempt, action, servers } => {
                let list = join(servers);
                tracing::info!(
                    attempt.id = attempt.0,
                    attempt.action = action.word(),
                    attempt.servers = list,
                    "attempt {attempt}: asking the cloud to {action} {list}"
                );
            }
            Self::Answered { attempt, action, answer } => answered(*attempt, *action, answer),
            Self::Target { run, action, server, name, progress } => {
                target(*run, *action, server, name.as_deref(), progress);
            }
            Self::Seen { server, name, condition } => {
                let shown = name.as_deref().unwrap_or(server.no.as_str());
                tracing::debug!(
                    server.no = server.no.as_str(),
                    server.account = server.account.as_str(),
                    server.condition = condition,
                    "server {} ({shown}) is at {condition}",
                    server.no
                );
            }
            Self::Recovered { run, server } => {
                tracing::warn!(
                    run.id = run.0,
                    server.no = server.no.as_str(),
                    server.account = server.account.as_str(),
                    "run {run}: server {} got there after all",
                    server.no
                );
            }
            Self::Override { words, who } => tracing::info!(override.who = who, "{words}"),
            Self::RunEnded { run, head, outcome, counts, is_as_planned, ended } => {
                run_ended(*run, head, *outcome, counts, *is_as_planned, *ended);
            }
        }
    }
}

fn run_ended(
    run: RunId,
    head: &RunHead,
    outcome: RunOutcome,
    counts: &str,
    is_as_planned: bool,
    ended: Timestamp,
) {
    let is_calm = is_as_planned || matches!(outcome, RunOutcome::Done | RunOutcome::Skipped);
    let (word, origin) = (outcome.word(), head.origin.words());
    let took_s = ended.duration_since(head.due).as_secs();
    let text = format!("run {run}: {word}: {counts}, {took_s}s after due");
    match is_calm {
        true => tracing::info!(
            run.id = run.0,
            run.origin = origin,
            run.outcome = word,
            run.took_s = took_s,
            "{text}"
        ),
        false => tracing::warn!(
            run.id = run.0,
            run.origin = origin,
            run.outcome = word,
            run.took_s = took_s,
            "{text}"
        ),
    }
}

fn answered(attempt: AttemptId, action: Action, answer: &Answer) {
    match answer {
        Answer::Accepted { request_id, .. } => {
            let request_id = request_id.as_deref().unwrap_or("");
            tracing::info!(
                attempt.id = attempt.0,
                attempt.result = "accepted",
                request.id = request_id,
                "attempt {attempt}: the cloud took the {action}"
            );
        }
        Answer::Refused(refusal) => tracing::warn!(
            attempt.id = attempt.0,
            attempt.result = "refused",
            http.status = refusal.status,
            http.code = refusal.code,
            "attempt {attempt}: the cloud refused the {action}: {}",
            refusal.words()
        ),
        Answer::Withheld => tracing::info!(
            attempt.id = attempt.0,
            attempt.result = "not-sent",
            "attempt {attempt}: {WITHHELD}"
        ),
        Answer::NotSent(reason) => tracing::warn!(
            attempt.id = attempt.0,
            attempt.result = "not-sent",
            "attempt {attempt}: nothing was sent: {}",
            reason.text
        ),
        Answer::Unanswered(reason) => tracing::warn!(
            attempt.id = attempt.0,
            attempt.result = "unanswered",
            "attempt {attempt}: no answer, so the servers are looked at before anything else: {}",
            reason.text
        ),
    }
}

fn target(run: RunId, action: Action, server: &ServerId, name: Option<&str>, progress: &Progress) {
    let shown = name.map_or_else(|| server.no.to_string(), |name| format!("{} ({name})", server.no));
    let (id, no, account) = (run.0, server.no.as_str(), server.account.as_str());
    match &progress.state {
        State::Ended { outcome, .. } => {
            let reason = outcome.reason().map(|reason| reason.to_string()).unwrap_or_default();
            let word = outcome.word();
            let tail = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            let attempts = progress.attempts;
            if matches!(outcome, Outcome::Failed(_) | Outcome::Unknown(_) | Outcome::Missed(_)) {
                tracing::warn!(
                    run.id = id,
                    server.no = no,
                    server.account = account,
                    target.outcome = word,
                    target.reason = reason,
                    target.attempts = attempts,
                    "run {run}: server {shown} {word}{tail}"
                );
            } else {
                tracing::info!(
                    run.id = id,
                    server.no = no,
                    server.account = account,
                    target.outcome = word,
                    target.reason = reason,
                    target.attempts = attempts,
                    "run {run}: server {shown} {word}{tail}"
                );
            }
        }
        State::Moving { .. } => tracing::info!(
            run.id = id,
            server.no = no,
            server.account = account,
            target.state = "moving",
            "run {run}: server {shown} is on its way ({action})"
        ),
        State::Looking { .. } => tracing::info!(
            run.id = id,
            server.no = no,
            server.account = account,
            target.state = "looking",
            "run {run}: server {shown} is looked at before anything else"
        ),
        State::Waiting { why: Some(why), until } => {
            // What is held back waits until it is set free, or until its window ends.
            let until = if *until == Timestamp::MAX { String::new() } else { until.to_string() };
            tracing::info!(
                run.id = id,
                server.no = no,
                server.account = account,
                target.state = "waiting",
                target.reason = why.kind.word(),
                target.until = until,
                "run {run}: server {shown} waits: {}",
                why.text
            );
        }
        // The line of the attempt says it already.
        State::Waiting { why: None, .. } | State::Asking { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::daemon::scene::{at, head, server};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(lines: &[Line]) -> Vec<String> {
        let paper = Paper::default();
        let writer = paper.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(log, || emit_all(lines));
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.split("lines: ").nth(1).unwrap_or(line).to_owned()).collect()
    }

    fn moving(run: i64, no: u32) -> Line {
        let since = at("08:50:01");
        let state = State::Moving { attempt: None, since, fell_back: None };
        let progress = Progress { state, ..Progress::fresh(since) };
        let (run, server) = (RunId(run), server(&no.to_string()));
        Line::Target { run, action: Action::Start, server, name: None, progress }
    }

    #[test]
    fn more_than_three_servers_that_go_on_alike_share_a_line_and_three_do_not() {
        let three: Vec<Line> = (1..=3).map(|no| moving(1, no)).collect();
        let four: Vec<Line> = (1..=4).map(|no| moving(1, no)).collect();
        let apart: Vec<Line> = (1..=4).map(|no| moving(i64::from(no % 2), no)).collect();

        assert_eq!((logged(&three).len(), logged(&apart).len()), (3, 4));
        let shared = logged(&four);
        assert_eq!(shared.len(), 1);
        assert!(shared[0].contains("run 1: 4 servers are on their way (start): 1 2 3 4"), "{shared:?}");
    }

    #[test]
    fn a_run_of_one_server_is_not_one_of_servers() {
        let started = |servers: usize| {
            let head = head("morning", Action::Start, at("08:50:00"));
            logged(&[Line::RunStarted { run: RunId(1), head, servers, pending: Vec::new() }]).concat()
        };

        assert!(started(1).contains("run 1: start 1 server for rule morning"), "{}", started(1));
        assert!(started(2).contains("run 1: start 2 servers for rule morning"), "{}", started(2));
    }
}
