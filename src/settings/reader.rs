//! From TOML to raw shapes: every syntax error, unknown key and wrong type is collected, none ends the reading.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::bundle;
use super::diagnostics::{Problem, did_you_mean};
use super::raw::{
    Account, At, Calendar, Checks, File, Group, Heartbeat, Http, Limits, Log, Notify, Probe, Rule, Secret,
    SecretPlace, Store, Tls,
};

/// The largest configuration file, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads the file as far as it can be read.
pub(super) fn read(text: &str) -> (File, Vec<Problem>) {
    if text.len() > TEXT_BYTES_MAX {
        let title = format!("the configuration is larger than {TEXT_BYTES_MAX} bytes");
        return (File::default(), vec![Problem::error(0..0, title, "the file begins here", "shorten it")]);
    }
    let problems = RefCell::new(Vec::new());
    let mut whole = File::default();
    // What the file that includes others may hold.
    let mut of_main = Vec::new();
    for part in bundle::parts(text) {
        // Every place counts from the beginning of the whole.
        let mut padded = " ".repeat(part.range.start);
        padded.push_str(text.get(part.range).unwrap_or_default());
        let (table, errors) = DeTable::parse_recoverable(&padded);
        problems.borrow_mut().extend(errors.iter().map(|error| not_toml(error, text)));
        match part.name {
            None => {
                let mut top = Table::new("the top of the file", table, &problems);
                whole = file(&mut top);
                of_main.clone_from(&top.known);
            }
            Some(name) => {
                let what = format!("the top of `{name}`, which is included");
                let mut top = Table::new(&what, table, &problems);
                top.elsewhere.clone_from(&of_main);
                let parts = included(top, name);
                add(&mut whole, parts, text, &problems);
            }
        }
    }
    (whole, problems.into_inner())
}

/// The cause of a problem with a name or key that stands twice: what the file says then cannot be known.
pub(super) const TWICE: &str = "it stands here once more";

fn not_toml(error: &toml::de::Error, text: &str) -> Problem {
    let span = error.span().unwrap_or(0..0);
    // The library's only way to tell what is wrong.
    if error.message() == "duplicate key" {
        let title = format!("`{}` is defined twice", text.get(span.clone()).unwrap_or_default());
        return Problem::error(span, title, TWICE, "take one of the two out, or give it a name of its own");
    }
    Problem::error(span, "the file is not valid TOML", error.message(), "mend the syntax at this place")
}

/// What an included file may hold.
fn included(mut top: Table<'_, '_>, name: &str) -> File {
    let mut calendars = top.named("calendars", "calendar", calendar);
    let groups = top.named("groups", "group", group);
    let rules = top.named("rules", "rule", rule);
    // Paths are relative to the file in which they stand.
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    for ics in calendars.iter_mut().filter_map(|(_, calendar)| calendar.ics.as_mut()) {
        ics.value = folder.join(&ics.value).display().to_string();
    }
    File { calendars, groups, rules, ..File::default() }
}

/// Adds what an included file holds. A name that is taken is a problem at the newer place.
fn add(whole: &mut File, parts: File, text: &str, problems: &RefCell<Vec<Problem>>) {
    let mut taken = Vec::new();
    add_named(&mut whole.calendars, parts.calendars, "calendar", &mut taken);
    add_named(&mut whole.groups, parts.groups, "group", &mut taken);
    add_named(&mut whole.rules, parts.rules, "rule", &mut taken);
    for (what, name, before) in taken {
        let first = Problem::error(before.clone(), "", "", "");
        let (file, own, start) = bundle::place(text, before.start, "the file that includes this one");
        let (line, _) =
            Problem { span: before.start - start..before.end - start, ..first }.line_and_column(own);
        problems.borrow_mut().push(Problem::error(
            name.span,
            format!("{what} `{}` is defined twice", name.value),
            format!("it stands in {file} already, on line {line}"),
            "keep one of them, or give one another name",
        ));
    }
}

type Taken = (&'static str, At<String>, Range<usize>);

fn add_named<T>(
    all: &mut Vec<(At<String>, T)>,
    more: Vec<(At<String>, T)>,
    what: &'static str,
    taken: &mut Vec<Taken>,
) {
    for (name, item) in more {
        match all.iter().find(|(known, _)| known.value == name.value) {
            Some((known, _)) => taken.push((what, name, known.span.clone())),
            None => all.push((name, item)),
        }
    }
}

fn file(top: &mut Table<'_, '_>) -> File {
    File {
        include: top.several("include"),
        language: top.get("language"),
        timezone: top.get("timezone"),
        calendar: top.several("calendar"),
        calendars: top.named("calendars", "calendar", calendar),
        accounts: top.named("accounts", "account", account),
        groups: top.named("groups", "group", group),
        rules: top.named("rules", "rule", rule),
        limits: top.single("limits", limits),
        checks: top.single("checks", checks),
        store: top.single("store", store),
        log: top.single("log", log),
        notify: top.named("notify", "notifier", notify),
        heartbeat: top.single("heartbeat", heartbeat),
        http: top.single("http", http),
    }
}

fn notify(table: &mut Table<'_, '_>) -> Notify {
    Notify {
        kind: table.get("kind"),
        url: table.secret("url"),
        secret: table.secret("secret"),
        smtp: table.secret("smtp"),
        from: table.get("from"),
        to: table.one_or_list("to"),
        command: table.list("command"),
        on: table.list("on"),
        least: table.get("least"),
        rules: table.one_or_list("rules").map(|(_, list)| list),
        groups: table.one_or_list("groups").map(|(_, list)| list),
        digest: table.get("digest"),
        summary: table.get("summary"),
        allow_private: table.get("allow_private"),
    }
}

fn http(table: &mut Table<'_, '_>) -> Http {
    Http {
        listen: table.get("listen"),
        token: table.secret("token"),
        tls: table.single("tls", tls),
        hosts: table.several("hosts"),
    }
}

fn tls(table: &mut Table<'_, '_>) -> Tls {
    Tls { certificate: table.get("certificate"), key: table.secret("key") }
}

fn heartbeat(table: &mut Table<'_, '_>) -> Heartbeat {
    Heartbeat {
        url: table.secret("url"),
        every: table.get("every"),
        allow_private: table.get("allow_private"),
    }
}

fn account(table: &mut Table<'_, '_>) -> Account {
    Account {
        site: table.get("site"),
        endpoint: table.get("endpoint"),
        region: table.get("region"),
        access_key: table.secret("access_key"),
        secret_key: table.secret("secret_key"),
        role: table.get("role"),
        ca_file: table.get("ca_file"),
        rate: table.get("rate"),
        batch: table.get("batch"),
    }
}

fn group(table: &mut Table<'_, '_>) -> Group {
    Group {
        account: table.get("account"),
        servers: table.list("servers").map(|(_, list)| list),
        vpc: table.term("vpc"),
        subnet: table.term("subnet"),
        zone: table.term("zone"),
        name: table.term("name"),
        spec: table.term("spec"),
        hypervisor: table.term("hypervisor"),
        tag: table.term("tag"),
        exclude: table.several("exclude"),
        after: table.several("after"),
        after_failure: table.get("after_failure"),
        ready: table.part("ready", probe),
        busy: table.part("busy", probe),
        boot_within: table.get("boot_within"),
        stop_within: table.get("stop_within"),
        stagger: table.get("stagger"),
        any: table.get("any"),
        canary: table.get("canary"),
        stop_after_failures: table.get("stop_after_failures"),
        on_growth: table.get("on_growth"),
    }
}

fn probe(table: &mut Table<'_, '_>) -> Probe {
    Probe {
        tcp: table.get("tcp"),
        http: table.get("http"),
        status: table.get("status"),
        within: table.get("within"),
    }
}

fn checks(table: &mut Table<'_, '_>) -> Checks {
    Checks { preflight: table.get("preflight"), rehearse: table.get("rehearse") }
}

fn calendar(table: &mut Table<'_, '_>) -> Calendar {
    Calendar {
        builtin: table.get("builtin"),
        ics: table.get("ics"),
        ics_match: table.one_or_list("ics_match").map(|(_, list)| list),
        dates: table.several("dates"),
        workdays: table.several("workdays"),
        cancel: table.several("cancel"),
    }
}

fn rule(table: &mut Table<'_, '_>) -> Rule {
    Rule {
        cron: table.get("cron"),
        hours: table.get("hours"),
        at: table.one_or_list("at").map(|(_, list)| list),
        start: table.list("start"),
        stop: table.list("stop"),
        run: table.list("run"),
        calendar: table.one_or_list("calendar").map(|(_, list)| list),
        except: table.several("except"),
        only: table.several("only"),
        except_edge: table.get("except_edge"),
        from: table.get("from"),
        until: table.get("until"),
        jitter: table.get("jitter"),
        timezone: table.get("timezone"),
        seconds: table.get("seconds"),
        enabled: table.get("enabled"),
        note: table.get("note"),
        window: table.get("window"),
        start_window: table.get("start_window"),
        stop_window: table.get("stop_window"),
        missed: table.get("missed"),
        after_keep: table.get("after_keep"),
        hand_stopped: table.get("hand_stopped"),
        gap: table.get("gap"),
        fold: table.get("fold"),
    }
}

fn limits(table: &mut Table<'_, '_>) -> Limits {
    let mut list = |key| table.list(key).map(|(_, list)| list);
    let (protect, never_stop, own) = (list("protect"), list("never_stop"), list("self"));
    let (protect, never_stop) = (protect.unwrap_or_default(), never_stop.unwrap_or_default());
    Limits {
        servers_per_run: table.get("servers_per_run"),
        requests_per_hour: table.get("requests_per_hour"),
        protect,
        never_stop,
        own,
    }
}

fn store(table: &mut Table<'_, '_>) -> Store {
    Store { url: table.get("url"), keep: table.get("keep") }
}

fn log(table: &mut Table<'_, '_>) -> Log {
    Log { format: table.get("format"), level: table.get("level") }
}

type Entry<'i> = (Spanned<std::borrow::Cow<'i, str>>, Spanned<DeValue<'i>>);

/// One table of the file: keys are taken out one by one, and what is left at the end is unknown.
struct Table<'i, 'p> {
    what: String,
    entries: Vec<Entry<'i>>,
    known: Vec<&'static str>,
    /// Keys that belong into the file that includes this one.
    elsewhere: Vec<&'static str>,
    problems: &'p RefCell<Vec<Problem>>,
}

impl<'i, 'p> Table<'i, 'p> {
    fn new(what: &str, table: Spanned<DeTable<'i>>, problems: &'p RefCell<Vec<Problem>>) -> Self {
        let mut entries: Vec<Entry<'i>> = table.into_inner().into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        Self { what: what.to_owned(), entries, known: Vec::new(), elsewhere: Vec::new(), problems }
    }

    fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.known.push(key);
        let index = self.entries.iter().position(|(name, _)| name.get_ref().as_ref() == key)?;
        Some(self.entries.remove(index).1)
    }

    fn wrong_type(&self, key: &str, span: Range<usize>, found: &str, wanted: &str) {
        let title = format!("`{key}` of {} has the wrong type", self.what);
        self.report(Problem::error(
            span,
            title,
            format!("this is {}", with_article(found)),
            format!("write {wanted}"),
        ));
    }

    /// A value of the type that the raw shape asks for.
    fn get<T: for<'de> Deserialize<'de> + Typed>(&mut self, key: &'static str) -> Option<At<T>> {
        let value = self.take(key)?;
        self.typed(key, value)
    }

    fn typed<T: for<'de> Deserialize<'de> + Typed>(
        &self,
        key: &str,
        value: Spanned<DeValue<'i>>,
    ) -> Option<At<T>> {
        let (span, found) = (value.span(), value.get_ref().type_str());
        match T::deserialize(value.into_deserializer()) {
            Ok(value) => Some(At { value, span }),
            Err(_) => {
                self.wrong_type(key, span, found, T::WORDS);
                None
            }
        }
    }

    fn list(&mut self, key: &'static str) -> Option<(Range<usize>, Vec<At<String>>)> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(items) => {
                Some((span, items.into_iter().filter_map(|item| self.typed(key, item)).collect()))
            }
            other => {
                self.wrong_type(key, span, other.type_str(), "a list of strings, such as `[\"web\"]`");
                None
            }
        }
    }

    fn one_or_list(&mut self, key: &'static str) -> Option<(Range<usize>, Vec<At<String>>)> {
        let entry = self.entries.iter().find(|(name, _)| name.get_ref().as_ref() == key);
        match entry.map(|(_, value)| value.get_ref()) {
            Some(DeValue::Array(_)) => self.list(key),
            _ => self.get::<String>(key).map(|one| (one.span.clone(), vec![one])),
        }
    }

    /// The words of a selector's term: an empty list would take every server where it was meant to take few.
    fn term(&mut self, key: &'static str) -> Vec<At<String>> {
        let Some((span, list)) = self.one_or_list(key) else { return Vec::new() };
        if list.is_empty() {
            let title = format!("`{key}` of {} is an empty list", self.what);
            self.report(Problem::error(span, title, "it says nothing", "write a word, or remove the key"));
        }
        list
    }

    /// One text or a list; nothing where the key is not there.
    fn several(&mut self, key: &'static str) -> Vec<At<String>> {
        self.one_or_list(key).map(|(_, list)| list).unwrap_or_default()
    }

    /// A secret's place. A literal is noticed and forgotten: its text goes nowhere.
    fn secret(&mut self, key: &'static str) -> Option<At<Secret>> {
        let value = self.take(key)?;
        let span = value.span();
        if value.get_ref().is_str() {
            return Some(At { value: Secret::Literal, span });
        }
        match SecretPlace::deserialize(value.into_deserializer()) {
            Ok(place) => Some(At { value: Secret::Place(place), span }),
            Err(_) => {
                let title = format!("`{key}` of {} does not say where the key is", self.what);
                let remedy =
                    "write `{ credential = \"NAME\" }`, `{ file = \"PATH\" }` or `{ env = \"NAME\" }`";
                self.report(Problem::error(span, title, "this names no place", remedy));
                None
            }
        }
    }

    fn inner(&mut self, key: &'static str) -> Option<Spanned<DeTable<'i>>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Spanned::new(span, table)),
            other => {
                self.wrong_type(key, span, other.type_str(), &format!("a table: `[{key}]`"));
                None
            }
        }
    }

    fn single<T: Default>(&mut self, key: &'static str, read: fn(&mut Table<'_, '_>) -> T) -> T {
        let Some(table) = self.inner(key) else {
            return T::default();
        };
        let mut table = Table::new(&format!("`{key}`"), table, self.problems);
        read(&mut table)
    }

    /// A table within a table, such as `{ tcp = "host:port" }`, with its place.
    fn part<T>(&mut self, key: &'static str, read: fn(&mut Table<'_, '_>) -> T) -> Option<At<T>> {
        let value = self.take(key)?;
        let span = value.span();
        let inner = match value.into_inner() {
            DeValue::Table(inner) => Spanned::new(span.clone(), inner),
            other => {
                let wanted = format!("`{key} = {{ tcp = \"host:port\" }}` or `{key} = {{ http = \"url\" }}`");
                self.wrong_type(key, span, other.type_str(), &wanted);
                return None;
            }
        };
        let mut table = Table::new(&format!("`{key}` of {}", self.what), inner, self.problems);
        Some(At { value: read(&mut table), span })
    }

    fn named<T>(
        &mut self,
        key: &'static str,
        what: &str,
        read: fn(&mut Table<'_, '_>) -> T,
    ) -> Vec<(At<String>, T)> {
        let Some(table) = self.inner(key) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in table.into_inner() {
            let name = At { value: name.get_ref().to_string(), span: name.span() };
            let span = value.span();
            match value.into_inner() {
                DeValue::Table(inner) => {
                    let title = format!("{what} `{}`", name.value);
                    let mut inner = Table::new(&title, Spanned::new(span, inner), self.problems);
                    let read = read(&mut inner);
                    found.push((name, read));
                }
                other => {
                    let remedy = format!("a table: `[{key}.{}]`", name.value);
                    self.wrong_type(&name.value, span, other.type_str(), &remedy);
                }
            }
        }
        found.sort_by_key(|(name, _)| name.span.start);
        found
    }
}

impl Drop for Table<'_, '_> {
    /// Whatever nobody took is unknown.
    fn drop(&mut self) {
        for (key, _) in &self.entries {
            let word = key.get_ref();
            let title = format!("unknown key `{word}` in {}", self.what);
            let known = || self.known.join("`, `");
            let remedy = match did_you_mean(word, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.elsewhere.contains(&word.as_ref()) => {
                    "it belongs into the file that includes this one".to_owned()
                }
                None => format!("the keys here are `{}`", known()),
            };
            self.report(Problem::error(key.span(), title, "no such key", remedy));
        }
    }
}

/// A type that a value of the file may have, in words.
trait Typed {
    const WORDS: &'static str;
}

impl Typed for String {
    const WORDS: &'static str = "a string in quotes";
}

impl Typed for i64 {
    const WORDS: &'static str = "a whole number";
}

impl Typed for f64 {
    const WORDS: &'static str = "a number";
}

impl Typed for bool {
    const WORDS: &'static str = "`true` or `false`";
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_an_included_file_count_from_that_file() {
        let calendar = |path: &str| format!("[calendars.c]\nics = \"{path}\"\n");
        let files = [("d/a.toml".to_owned(), calendar("off.ics")), ("d/b.toml".to_owned(), String::new())];
        let path_in = |whole: &str| read(whole).0.calendars[0].1.ics.clone().unwrap().value;

        assert_eq!(path_in(&bundle::join("", &files).unwrap()), "d/off.ics");
        let absolute = [("d/a.toml".to_owned(), calendar("/srv/off.ics"))];
        assert_eq!(path_in(&bundle::join("", &absolute).unwrap()), "/srv/off.ics");
        assert_eq!(path_in(&calendar("off.ics")), "off.ics");
    }

    #[test]
    fn a_name_that_is_defined_twice_is_told_once_and_without_what_follows_from_it() {
        let text = "[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1001\"]\n\
            [rules.r]\ncron = \"0 9 * * *\"\nstart = [\"web\"]\n[rules.r]\ncron = \"0 18 * * *\"\nstop = [\"web\"]\n";

        let told = |text: &str| crate::settings::Settings::read(text).unwrap_err();

        let problems = told(text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!((problems[0].title.as_str(), problems[0].cause.as_str()), ("`r` is defined twice", TWICE));
        assert_eq!(told(&format!("corn = 7\n{text}")).len(), 2, "what stands before it is told too");
    }

    #[test]
    fn mistakes_are_told_all_at_once_and_none_that_only_follows_from_another() {
        let read = |top: &str, rule: &str| {
            let text = format!(
                "{top}[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1001\"]\n[rules.r]\n{rule}"
            );
            let problems = crate::settings::Settings::read(&text).unwrap_err();
            problems
                .into_iter()
                .map(|problem| format!("{}: {}", problem.title, problem.cause))
                .collect::<Vec<_>>()
        };
        let zone = "timezone = \"Asia/Seoul\"\n";

        let fields = read(zone, "cron = \"61 25 * * FRY\"\nstart = [\"web\"]\n").join("\n");
        for part in ["`61` is no minute", "`25` is no hour", "FRY"] {
            assert!(fields.contains(part), "{part} is missing in: {fields}");
        }
        assert_eq!(read(zone, "hours = \"MON-FRI 9:00-18:00\"\nrun = \"web\"\n").len(), 1, "`run` is there");
        assert_eq!(read(zone, "cron = 7\nstart = [\"web\"]\n").len(), 1, "`cron` is there");
        let both = read("timezone = \"Asia/Seul\"\n", "at = \"2026-13-01T00:00\"\nstart = [\"web\"]\n");
        assert_eq!(both.len(), 2, "{both:?}");
    }
}
