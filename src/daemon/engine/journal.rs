//! The engine and its journal: what is decided is recorded before anything is done, and a journal in trouble stops everything.

use std::sync::Arc;

use super::{Engine, EngineError, Phase, STORE_RETRY};
use crate::daemon::absence::Absence;
use crate::daemon::claims;
use crate::daemon::draft::Draft;
use crate::daemon::lines::{self, Line};
use crate::daemon::measure::measure;
use crate::daemon::view;
use crate::domain::outcome::{Reason, ReasonKind};
use crate::ports::notifier::{NoticeKind, Told, Urgency};
use crate::ports::store::{Store, StoreError, Turn};

use super::Input;

/// Logs how many runs the program left open when it ended last.
pub(super) fn say_unfinished(runs: usize) {
    let what = match runs {
        0 => return,
        1 => "1 run was".to_owned(),
        _ => format!("{runs} runs were"),
    };
    tracing::warn!(runs, "{what} left unfinished: the servers concerned are looked at first");
}

impl Engine {
    /// Records a draft. A journal that cannot be written stops everything until it can.
    pub(super) async fn record(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        // A commit that failed may have arrived all the same. Then the second one is in conflict with it, and whoever begins again
        // begins from the journal.
        self.once_usable(async |store| store.record(&draft.turn).await).await?;
        self.journal_is_fine();
        self.claims_seen |= !draft.command_runs.is_empty();
        // What was seen comes before what is asked because of it.
        draft.lines.sort_by_key(|line| matches!(line, Line::Asked { .. }));
        measure(self.parts.meter.as_ref(), &draft.lines, &draft.turn);
        self.unsaid.append(&mut draft.lines);
        for notice in draft.notices.drain(..) {
            self.parts.notifier.tell(&notice);
        }
        draft.turn = Turn::default();
        Ok(())
    }

    /// Turns what begins in this turn into runs, without occurrences that have one already.
    pub(super) async fn take_up(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        let occurrences = claims::occurrences(draft);
        let before = self.once_usable(async |store| store.claimed(&occurrences).await).await?;
        claims::take_up(&mut self.book, draft, before);
        Ok(())
    }

    /// Logs what has been recorded.
    pub(super) fn say(&mut self) {
        lines::emit_all(&self.unsaid);
        self.unsaid.clear();
    }

    /// Before the first turn under a clock that can be believed: what a wrong clock decided is taken back.
    pub(super) async fn withdraw(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        if matches!(self.phase, Phase::AtWork | Phase::Starting(None)) {
            return Ok(());
        }
        let withdrawn = self.once_usable(async |store| store.withdraw(draft.now).await).await?;
        self.journal_is_fine();
        if let Phase::Starting(Some(marks)) = &mut self.phase {
            for (rule, until) in &withdrawn.reopened {
                let of_rule = marks.iter_mut().filter(|mark| mark.rule == *rule);
                of_rule.for_each(|mark| mark.until = mark.until.min(*until));
            }
        }
        let holds_again = !withdrawn.overrides.is_empty();
        self.book.take_back(draft, withdrawn);
        // What a keep that holds again had held back is made up for when it really ends.
        if let Some(query) = self.book.kept_before().filter(|_| holds_again) {
            self.book.learn_kept(&self.parts.store.history(&query).await?);
        }
        Ok(())
    }

    /// What the journal answers, once it can be used.
    async fn once_usable<T>(
        &mut self,
        ask: impl AsyncFn(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, EngineError> {
        let store = Arc::clone(&self.parts.store);
        loop {
            match ask(store.as_ref()).await {
                Ok(answer) => return Ok(answer),
                Err(StoreError::Unusable { journal, what }) => self.wait_for_journal(journal, what).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A journal that cannot be used is tried again after a while; nothing else happens until it can.
    async fn wait_for_journal(&mut self, journal: String, what: String) -> Result<(), EngineError> {
        self.say();
        if !self.store_trouble {
            self.store_trouble = true;
            let text =
                format!("the journal {journal} cannot be written, so nothing is started or stopped: {what}");
            let ko = format!("저널 {journal}에 쓸 수 없어 아무것도 시작하거나 정지하지 않습니다: {what}");
            self.tell(NoticeKind::Trouble, Urgency::NeedsAPerson, Told::new(text, ko));
        }
        if self.store_trouble_ends_it() {
            return Err(StoreError::Unusable { journal, what }.into());
        }
        tokio::time::sleep(STORE_RETRY).await;
        Ok(())
    }

    fn journal_is_fine(&mut self) {
        if self.store_trouble {
            self.store_trouble = false;
            self.absence = Absence::of(Reason::new(ReasonKind::Store, "the journal could not be written"));
            let told = Told::new("the journal can be written again.", "저널에 다시 쓸 수 있습니다.");
            self.tell(NoticeKind::Recovered, Urgency::GoodToKnow, told);
        }
    }

    /// While the journal is in trouble, only a shutdown and questions are listened to.
    fn store_trouble_ends_it(&mut self) -> bool {
        self.beat();
        let boot = self.parts.clock.read().boot;
        self.last_sweep = boot;
        while let Ok(input) = self.parts.inputs.try_recv() {
            match input {
                Input::Shutdown => return true,
                Input::Status(reply) => {
                    let now = self.parts.clock.now();
                    let _ = reply.send(view::status(&self.book, self.started, &self.beat_of(), now));
                }
                Input::Sweep | Input::Prune | Input::CheckAccounts => {}
                Input::Groups { reply, .. } => drop(reply),
                other => self.deferred.push((boot, other)),
            }
        }
        false
    }
}
