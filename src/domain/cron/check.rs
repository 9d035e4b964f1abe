//! Our own strict reading of an expression in front of croner, so that every refusal names field, value and place.

use std::ops::Range;

use super::{DayWord, Fields};
use crate::domain::misread::{Misread, Word};

/// What the check found, ready for croner.
pub(super) struct Checked {
    /// The expression with aliases and names replaced by numbers.
    pub(super) plain: String,
    /// Whether both day fields must match.
    pub(super) days_are_anded: bool,
    /// Whether the minute or hour field begins with `*`.
    pub(super) follows_real_time: bool,
    /// The bytes of the day-of-month field, for what never occurs.
    pub(super) day_of_month: Range<usize>,
    /// What stands for the days of the week instead of numbers or names.
    pub(super) day_word: Option<DayWord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const KINDS: [Kind; 6] =
    [Kind::Second, Kind::Minute, Kind::Hour, Kind::DayOfMonth, Kind::Month, Kind::DayOfWeek];
const ALIASES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        }
    }

    fn range(self) -> (u32, u32) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &DAYS,
            _ => &[],
        }
    }

    /// The number that the first name stands for.
    fn first(self) -> u32 {
        u32::from(self == Self::Month)
    }

    fn allowed(self) -> String {
        let (low, high) = self.range();
        match self {
            Self::Month => format!("{low} to {high}, or JAN to DEC"),
            Self::DayOfWeek => format!("{low} to {high} (0 and 7 are Sunday), or SUN to SAT"),
            _ => format!("{low} to {high}"),
        }
    }
}

pub(super) fn check(text: &str, fields: Fields) -> Result<Checked, Misread> {
    let all = Word { text, at: 0 };
    if let Some(alias) = text.trim().strip_prefix('@') {
        return check_alias(all, alias, fields);
    }
    let words = all.words();
    let kinds = kinds_for(all, words.len(), fields)?;
    let day_word = check_day_word(kinds, &words)?;
    let plain: Vec<String> = check_fields(kinds, &words, day_word).collect::<Result<_, _>>()?;
    let begins_with_star =
        |kind: Kind| kinds.iter().zip(&words).any(|(k, word)| *k == kind && word.text.starts_with('*'));
    let day_of_month = kinds.iter().zip(&words).find(|(kind, _)| **kind == Kind::DayOfMonth);
    Ok(Checked {
        plain: plain.join(" "),
        days_are_anded: begins_with_star(Kind::DayOfMonth) || begins_with_star(Kind::DayOfWeek),
        follows_real_time: begins_with_star(Kind::Minute) || begins_with_star(Kind::Hour),
        day_of_month: day_of_month.map_or(0..text.len(), |(_, word)| word.span()),
        day_word,
    })
}

/// Each field that is not understood, in order. Nothing of an alias, or of a wrong count of fields.
pub(super) fn misread_fields(text: &str, fields: Fields) -> Vec<Misread> {
    let all = Word { text, at: 0 };
    let words = all.words();
    let Ok(kinds) = kinds_for(all, words.len(), fields) else { return Vec::new() };
    let Ok(day_word) = check_day_word(kinds, &words) else { return Vec::new() };
    check_fields(kinds, &words, day_word).filter_map(Result::err).collect()
}

/// Each field in plain numbers, or why it is not understood.
fn check_fields<'w>(
    kinds: &'w [Kind],
    words: &'w [Word<'w>],
    day_word: Option<DayWord>,
) -> impl Iterator<Item = Result<String, Misread>> {
    kinds.iter().zip(words).map(move |(kind, word)| match (kind, day_word) {
        (Kind::DayOfWeek, Some(_)) => Ok("*".to_owned()),
        _ => check_field(*kind, *word),
    })
}

/// `WORKDAYS` or `HOLIDAYS` alone as the day of the week, with `*` as the day of the month.
fn check_day_word(kinds: &[Kind], words: &[Word<'_>]) -> Result<Option<DayWord>, Misread> {
    let field =
        |wanted: Kind| kinds.iter().zip(words).find(|(kind, _)| **kind == wanted).map(|(_, word)| *word);
    let (Some(month_day), Some(week_day)) = (field(Kind::DayOfMonth), field(Kind::DayOfWeek)) else {
        return Ok(None);
    };
    let Some(found) = DayWord::read(week_day.text) else {
        let upper = week_day.text.to_ascii_uppercase();
        if upper.contains("WORKDAY") || upper.contains("HOLIDAY") {
            return Err(week_day.error(
                format!("`{}` in the day of week field is not read", week_day.text),
                "write `WORKDAYS` or `HOLIDAYS` alone in this field",
            ));
        }
        return Ok(None);
    };
    if month_day.text != "*" {
        return Err(month_day.error(
            format!("`{}` stands as the day of month beside `{}`", month_day.text, week_day.text),
            format!("write `*` as the day of month: `{}` names the days already", week_day.text),
        ));
    }
    Ok(Some(found))
}

fn kinds_for(all: Word<'_>, count: usize, fields: Fields) -> Result<&'static [Kind], Misread> {
    let five = KINDS.split_first().map_or(&KINDS[..], |(_, five)| five);
    match (fields, count) {
        (Fields::Five, 5) => Ok(five),
        (Fields::Six, 6) => Ok(&KINDS),
        (Fields::Five, 6) => Err(all.error(
            "the expression has 6 fields, but only 5 are read".into(),
            "if the first field is meant as seconds, add `seconds = true` to the rule; otherwise remove one field",
        )),
        (Fields::Six, 5) => Err(all.error(
            "the expression has 5 fields, but the rule says `seconds = true`".into(),
            "put a field for seconds in front, or remove `seconds = true`",
        )),
        (_, count) => Err(all.error(
            format!("the expression has {count} fields"),
            "write `minute hour day-of-month month day-of-week`, such as `50 8 * * MON-FRI`",
        )),
    }
}

fn check_alias(all: Word<'_>, alias: &str, fields: Fields) -> Result<Checked, Misread> {
    let wanted = format!("@{}", alias.to_ascii_lowercase());
    if wanted == "@reboot" {
        return Err(all.error("`@reboot` names no moment".into(), "name a time, such as `50 8 * * MON-FRI`"));
    }
    match ALIASES.iter().find(|(name, _)| *name == wanted) {
        None => {
            let known: Vec<_> = ALIASES.iter().map(|(name, _)| *name).collect();
            Err(all.error(format!("`{wanted}` is not a known alias"), format!("one of {}", known.join(", "))))
        }
        Some((_, plain)) => {
            let mut checked = check(plain, Fields::Five)?;
            if fields == Fields::Six {
                checked.plain = format!("0 {}", checked.plain);
            }
            checked.day_of_month = all.span();
            Ok(checked)
        }
    }
}

fn check_field(kind: Kind, field: Word<'_>) -> Result<String, Misread> {
    let items = field.split(',');
    let mut plain = Vec::new();
    for item in &items {
        if item.text.is_empty() {
            return Err(field.error(
                format!("the {} field `{}` has an empty item", kind.name(), field.text),
                "remove the comma that nothing follows",
            ));
        }
        if item.text.starts_with('*') && items.len() > 1 {
            return Err(item.error(
                format!("`{}` stands in a list in the {} field", item.text, kind.name()),
                "`*` matches everything: write it alone, or list values only",
            ));
        }
        plain.push(check_item(kind, *item)?);
    }
    Ok(plain.join(","))
}

fn check_item(kind: Kind, item: Word<'_>) -> Result<String, Misread> {
    if item.text.contains('?') {
        return Err(item.error(format!("`?` in the {} field is not read", kind.name()), "write `*`"));
    }
    if let Some(special) = check_special(kind, item)? {
        return Ok(special);
    }
    let parts = item.split('/');
    match parts.as_slice() {
        [values] => check_values(kind, *values).map(|(plain, _)| plain),
        [values, step] => check_step(kind, item, *values, *step),
        _ => Err(item.error(
            format!("`{}` in the {} field has two steps", item.text, kind.name()),
            "write one step, such as `*/15`",
        )),
    }
}

/// `L`, `LW`, `15W`, `MON#1`, `5L`: each only in its field.
fn check_special(kind: Kind, item: Word<'_>) -> Result<Option<String>, Misread> {
    let upper = item.text.to_ascii_uppercase();
    match kind {
        Kind::DayOfMonth if upper == "L" || upper == "LW" || upper == "WL" => {
            Ok(Some(if upper == "L" { "L".into() } else { "LW".into() }))
        }
        Kind::DayOfMonth if upper.ends_with('W') => {
            let day = part_of(item, 0, item.text.len() - 1);
            Ok(Some(format!("{}W", number(kind, day)?)))
        }
        Kind::DayOfWeek if upper.contains('#') => {
            let parts = item.split('#');
            let [day, nth] = parts.as_slice() else {
                return Err(item.error(
                    format!("`{}` has two `#`", item.text),
                    "write a day and 1 to 5, such as `MON#1`",
                ));
            };
            let nth_number =
                nth.text.parse::<u32>().ok().filter(|n| (1..=5).contains(n) && nth.text.len() == 1);
            match nth_number {
                Some(n) => Ok(Some(format!("{}#{n}", number(kind, *day)? % 7))),
                None => Err(nth.error(
                    format!("`{}` in the day of week field is no week of the month", nth.text),
                    "1 to 5 can follow `#`, such as `MON#1`",
                )),
            }
        }
        // `JUL` is the one name that ends in L, and it is a month.
        Kind::DayOfWeek if upper.ends_with('L') && upper.len() > 1 => {
            let day = part_of(item, 0, item.text.len() - 1);
            Ok(Some(format!("{}L", number(kind, day)? % 7)))
        }
        _ => Ok(None),
    }
}

fn part_of(item: Word<'_>, from: usize, to: usize) -> Word<'_> {
    Word { text: item.text.get(from..to).unwrap_or(item.text), at: item.at + from }
}

fn check_step(kind: Kind, item: Word<'_>, values: Word<'_>, step: Word<'_>) -> Result<String, Misread> {
    let (plain, size) = check_values(kind, values)?;
    if size == 1 {
        let (_, high) = kind.range();
        return Err(item.error(
            format!("`{}` in the {} field steps from a single value", item.text, kind.name()),
            format!("name the range, such as `{}-{high}/{}`", values.text, step.text),
        ));
    }
    match step.text.parse::<u32>().ok().filter(|_| step.text.bytes().all(|b| b.is_ascii_digit())) {
        Some(n) if (1..size).contains(&n) => Ok(format!("{plain}/{n}")),
        Some(n) => Err(step.error(
            format!("the step {n} in the {} field does not fit its {size} values", kind.name()),
            format!("use a step of 1 to {}", size - 1),
        )),
        None => Err(step.error(
            format!("`{}` in the {} field is no step", step.text, kind.name()),
            "a whole number follows `/`, such as `*/15`",
        )),
    }
}

/// A star, a value or a range; with the number of values it covers.
fn check_values(kind: Kind, values: Word<'_>) -> Result<(String, u32), Misread> {
    if values.text == "*" {
        let (low, high) = kind.range();
        let size = if kind == Kind::DayOfWeek { 7 } else { high - low + 1 };
        return Ok(("*".into(), size));
    }
    let ends = values.split('-');
    match ends.as_slice() {
        [one] => number(kind, *one).map(|n| (n.to_string(), 1)),
        [low, high] => {
            let (first, mut last) = (number(kind, *low)?, number(kind, *high)?);
            // SAT-SUN is the weekend, although Sunday is also 0.
            if kind == Kind::DayOfWeek && last == 0 && first > 0 {
                last = 7;
            }
            if first > last {
                return Err(values.error(
                    format!("the range `{}` in the {} field runs backward", values.text, kind.name()),
                    backward_remedy(kind, *low, *high),
                ));
            }
            Ok((format!("{first}-{last}"), last - first + 1))
        }
        _ => Err(values.error(
            format!("`{}` in the {} field is no range", values.text, kind.name()),
            "write two values with one `-` between them",
        )),
    }
}

fn backward_remedy(kind: Kind, low: Word<'_>, high: Word<'_>) -> String {
    let (first, last) = match kind {
        Kind::DayOfWeek => ("SUN".to_owned(), "SAT".to_owned()),
        _ => (kind.range().0.to_string(), kind.range().1.to_string()),
    };
    format!("write the two halves: `{}-{last},{first}-{}`", low.text, high.text)
}

fn number(kind: Kind, value: Word<'_>) -> Result<u32, Misread> {
    let upper = value.text.to_ascii_uppercase();
    if let Some(index) = kind.names().iter().position(|name| *name == upper) {
        return Ok(u32::try_from(index).unwrap_or(0) + kind.first());
    }
    let (low, high) = kind.range();
    let digits =
        !value.text.is_empty() && value.text.len() <= 4 && value.text.bytes().all(|b| b.is_ascii_digit());
    match value.text.parse::<u32>().ok().filter(|_| digits) {
        Some(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(value.error(
            format!("`{}` is no {}", value.text, kind.name()),
            format!("the field takes {}", kind.allowed()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_it_does_not_fully_understand_and_points_at_it() {
        let table = [
            ("60 8 * * *", "60", "no minute"),
            ("0 24 * * *", "24", "no hour"),
            ("0 8 0 * *", "0", "no day of month"),
            ("0 8 * 13 *", "13", "no month"),
            ("0 8 * * 8", "8", "no day of week"),
            ("0 8 * * MOM", "MOM", "no day of week"),
            ("*/61 * * * *", "61", "does not fit"),
            ("*/60 * * * *", "60", "does not fit"),
            ("*/0 * * * *", "0", "does not fit"),
            ("1,,2 * * * *", "1,,2", "empty item"),
            (",1 * * * *", ",1", "empty item"),
            ("5/15 * * * *", "5/15", "single value"),
            ("*/5/2 * * * *", "*/5/2", "two steps"),
            ("*,5 * * * *", "*", "stands in a list"),
            ("0 8 ? * *", "?", "not read"),
            ("0 8 * * FRI-MON", "FRI-MON", "runs backward"),
            ("0 18-8 * * *", "18-8", "runs backward"),
            ("0 8 * * MON#6", "6", "no week of the month"),
            ("0 8 * * MON#1#2", "MON#1#2", "two `#`"),
            ("0 8 32W * *", "32", "no day of month"),
            ("0 8 W * *", "", "no day of month"),
            ("0 8 * * L", "L", "no day of week"),
            ("L 8 * * *", "L", "no minute"),
            ("0 8 1-2-3 * *", "1-2-3", "no range"),
            ("+5 8 * * *", "+5", "no minute"),
            ("0 8 * * +MON", "+MON", "no day of week"),
            ("0 8 * * 월", "월", "no day of week"),
            ("00005 8 * * *", "00005", "no minute"),
        ];

        for (text, place, problem) in table {
            let Err(error) = check(text, Fields::Five) else { panic!("{text} was taken") };
            assert!(error.problem.contains(problem), "{text}: {}", error.problem);
            assert_eq!(text.get(error.span.clone()), Some(place), "{text}");
            assert!(!error.remedy.is_empty(), "{text}");
        }
    }

    #[test]
    fn six_fields_need_the_word_of_the_rule_and_five_are_refused_with_it() {
        let six = check("0 9 * * * *", Fields::Five).err().unwrap();
        let five = check("0 9 * * *", Fields::Six).err().unwrap();

        assert!(six.remedy.contains("seconds = true"), "{}", six.remedy);
        assert!(five.problem.contains("seconds = true"), "{}", five.problem);
        assert!(check("", Fields::Five).err().unwrap().problem.contains("0 fields"));
        assert!(check("@reboot", Fields::Five).err().unwrap().problem.contains("no moment"));
        assert!(check("@fortnightly", Fields::Five).err().unwrap().remedy.contains("@weekly"));
    }
}
