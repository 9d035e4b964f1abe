//! What notices are made of, in Korean. Names, numbers and what the cloud says of its own stay as they are.

use super::name::Action;
use super::notice::NoticeKind;
use super::outcome::{Outcome, Reason, ReasonKind, RunOutcome};

/// What an action does.
#[must_use]
pub fn action(action: Action) -> &'static str {
    match action {
        Action::Start => "시작",
        Action::Stop => "정지",
    }
}

/// What a notice is about.
#[must_use]
pub fn notice_kind(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Failed => "실패",
        NoticeKind::Missed => "놓침",
        NoticeKind::Late => "늦음",
        NoticeKind::Recovered => "회복",
        NoticeKind::Guard => "한도",
        NoticeKind::Config => "설정",
        NoticeKind::Override => "예외 종료",
        NoticeKind::Trouble => "문제",
    }
}

/// How a run ended.
#[must_use]
pub fn run_outcome(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Done => "완료",
        RunOutcome::Partial => "일부만 완료",
        RunOutcome::Failed => "실패",
        RunOutcome::Skipped => "건너뜀",
        RunOutcome::Missed => "놓침",
    }
}

/// `2대 시작됨, 1대 실패`, in a fixed order.
#[must_use]
pub fn counts(outcomes: &[&Outcome]) -> String {
    const WORDS: [(&str, &str); 8] = [
        ("started", "시작됨"),
        ("stopped", "정지됨"),
        ("already", "이미 그 상태"),
        ("failed", "실패"),
        ("unknown", "알 수 없음"),
        ("superseded", "새 실행으로 대체됨"),
        ("skipped", "건너뜀"),
        ("missed", "놓침"),
    ];
    let count = |word: &str| outcomes.iter().filter(|outcome| outcome.word() == word).count();
    let counted = WORDS.iter().map(|(word, korean)| (count(word), korean)).filter(|(count, _)| *count > 0);
    counted.map(|(count, korean)| format!("{count}대 {korean}")).collect::<Vec<_>>().join(", ")
}

/// A reason: its kind in Korean, and the details as they are.
#[must_use]
pub fn reason(reason: &Reason) -> String {
    format!("{} ({})", reason_kind(reason.kind), reason.text)
}

/// The kind of a reason.
#[must_use]
pub fn reason_kind(kind: ReasonKind) -> &'static str {
    match kind {
        ReasonKind::Refused => "클라우드가 요청을 거부함",
        ReasonKind::Api => "클라우드의 오류 응답",
        ReasonKind::Throttled => "요청이 너무 많다는 응답",
        ReasonKind::Credentials => "인증 키가 거부되었거나 읽을 수 없음",
        ReasonKind::Unreachable => "클라우드에 연결할 수 없음",
        ReasonKind::NoAnswer => "응답이 오지 않음",
        ReasonKind::Capacity => "클라우드에 남은 자리가 없음",
        ReasonKind::TooSlow => "제한 시간 안에 상태가 바뀌지 않음",
        ReasonKind::FellBack => "원래 상태로 되돌아감",
        ReasonKind::FailureState => "서버가 장애 상태임",
        ReasonKind::Busy => "서버에서 다른 작업이 진행 중",
        ReasonKind::Gone => "서버가 더 이상 없음",
        ReasonKind::Dependency => "먼저 되어야 할 서버가 준비되지 않음",
        ReasonKind::NotKnown => "판단에 필요한 정보를 알 수 없음",
        ReasonKind::Protected => "설정에서 보호한 서버",
        ReasonKind::Wanted => "다른 규칙의 운영 시간 안에 있음",
        ReasonKind::Paused => "사람이 일시 중지함",
        ReasonKind::Kept => "사람이 현재 상태로 유지함",
        ReasonKind::HandStopped => "사람이 Sunup 밖에서 정지함",
        ReasonKind::Limit => "설정한 한도에 걸림",
        ReasonKind::Removed => "규칙이 삭제되었거나 바뀜",
        ReasonKind::Down => "Sunup이 실행 중이 아니었음",
        ReasonKind::Suspended => "컴퓨터가 절전 상태였음",
        ReasonKind::Stalled => "Sunup 또는 컴퓨터가 멈춰 있었음",
        ReasonKind::Clock => "시계를 믿을 수 없었음",
        ReasonKind::Store => "저널에 쓸 수 없었음",
        ReasonKind::Late => "늦어서 하지 않음",
        ReasonKind::Newer => "더 새로운 실행이 대신함",
        ReasonKind::NoChance => "할 기회가 없었음",
    }
}
