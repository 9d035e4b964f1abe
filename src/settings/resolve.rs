//! From raw shapes to settings: every value is checked, and every problem is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostics::{Problem, Severity, did_you_mean};
use super::raw::{At, File, Secret};
use super::resolve_rule::RuleReader;
use super::secret::SecretSource;
use super::sources::{NoFiles, Shelf, Sources};
use super::{
    Account, BATCH_DEFAULT, Checks, Endpoint, KEEP_DEFAULT, Keys, Loaded, LogFormat, LogLevel, RATE_DEFAULT,
    Settings, Site, StoreLocation, duration, raw, reader,
};
use crate::domain::name::{AccountName, NameError};
use crate::domain::notice::Language;
use crate::domain::order::Chains;

/// The shortest look ahead that is of use: reads take their time.
const PREFLIGHT_MIN: Duration = Duration::from_secs(15);
/// The fastest that an account may be asked, in requests a second: rehearsals against the sandbox want it, no cloud is known to.
const RATE_MAX: usize = 10_000;
/// The longest look before due; what is to be seen earlier is what `rehearse` is for.
const PREFLIGHT_MAX: Duration = Duration::from_mins(10);
/// The shortest time in which a person could mend something.
const REHEARSE_MIN: Duration = Duration::from_mins(10);
/// The longest time before due at which a rehearsal still says something.
const REHEARSE_MAX: Duration = Duration::from_hours(24);

/// Reads, resolves, and either returns settings or every problem.
pub(super) fn settings(text: &str, shelf: &dyn Shelf) -> Result<Loaded, Vec<Problem>> {
    let (file, mut problems) = reader::read(text);
    if let Some(twice) = problems.iter().find(|problem| problem.cause == reader::TWICE).cloned() {
        // Whatever else is odd may follow from it, above all its own keys, which stand twice then too.
        problems.retain(|problem| problem.span.start < twice.span.start);
        problems.push(twice);
        return Err(problems);
    }
    let mut resolver = Resolver { problems, shelf, sources: Sources::default(), stale: Vec::new() };
    let settings = resolver.file(file, text);
    let mut problems = std::mem::take(&mut resolver.problems);
    problems.sort_by_key(|problem| problem.span.start);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok(Loaded { settings, warnings: problems, stale: resolver.stale })
}

/// Reads `store.url` alone.
pub(super) fn store_of(text: &str) -> StoreLocation {
    let (file, _) = reader::read(text);
    Resolver { problems: Vec::new(), shelf: &NoFiles, sources: Sources::default(), stale: Vec::new() }
        .store(file.store)
        .0
}

/// Collects problems while values are resolved.
pub(super) struct Resolver<'s> {
    pub(super) problems: Vec<Problem>,
    pub(super) shelf: &'s dyn Shelf,
    /// What calendars were found to rest on.
    pub(super) sources: Sources,
    /// Files whose last good content is used.
    pub(super) stale: Vec<String>,
}

impl Resolver<'_> {
    /// Whether a problem with the zone at the top is told already.
    pub(super) fn has_mistyped_zone(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.title.contains("time zone") || problem.remedy.contains("`timezone`"))
    }

    /// Whether a problem with the type of one of a rule's keys is told already: it stands there, though not rightly.
    pub(super) fn has_mistyped(&self, rule: &str, keys: &[&str]) -> bool {
        let told = |key: &&str| format!("`{key}` of rule `{rule}` has the wrong type");
        let told: Vec<String> = keys.iter().map(told).collect();
        self.problems.iter().any(|problem| told.contains(&problem.title))
    }

    pub(super) fn error<T>(&mut self, at: &At<T>, title: String, cause: &str, remedy: &str) {
        self.problems.push(Problem::error(at.span.clone(), title, cause, remedy));
    }

    fn file(&mut self, file: File, text: &str) -> Settings {
        if file.accounts.is_empty()
            && file.groups.is_empty()
            && file.rules.is_empty()
            && self.problems.is_empty()
        {
            // A file that a full disk emptied must not take every rule away.
            let (title, cause) = ("the file has no account, no group and no rule", "the file is empty");
            self.problems.push(Problem::error(0..0, title, cause, "write it after the annotated example"));
        }
        let languages = [("en", Language::English), ("ko", Language::Korean)];
        let language = file.language.and_then(|word| self.choice(&word, &languages)).unwrap_or_default();
        let timezone = file.timezone.and_then(|zone| self.zone(&zone));
        let mut accounts = BTreeMap::new();
        let named_accounts: BTreeSet<String> =
            file.accounts.iter().map(|(name, _)| name.value.clone()).collect();
        for (name, raw) in file.accounts {
            if let Some(account) = self.account(&name, raw) {
                accounts.insert(account.name.clone(), account);
            }
        }
        self.same_keys_twice(&accounts);
        let group_names: BTreeSet<String> = file.groups.iter().map(|(name, _)| name.value.clone()).collect();
        let groups = self.groups(file.groups, &named_accounts, &group_names);
        let chains = Chains::new(&groups);
        let limits = self.limits(file.limits, &group_names);
        let calendars = self.calendars(file.calendars);
        let default_calendar = self.named_calendars(&calendars, &file.calendar);
        let mut rules = BTreeMap::new();
        let mut reader =
            RuleReader::new(timezone.clone(), &group_names, &chains, &calendars, default_calendar);
        let rule_names: BTreeSet<String> = file.rules.iter().map(|(name, _)| name.value.clone()).collect();
        for (name, raw) in file.rules {
            if let Some(rule) = reader.rule(self, &name, raw) {
                rules.insert(rule.name.clone(), rule);
            }
        }
        let checks = self.checks(file.checks);
        let notifiers = self.notifiers(file.notify, &rule_names, &group_names);
        let heartbeat = self.heartbeat(file.heartbeat);
        let http = self.http(file.http);
        let (store, keep) = self.store(file.store);
        let (log_format, log_level) = self.log(file.log);
        Settings {
            timezone,
            language,
            accounts,
            groups,
            calendars: calendars.resolved,
            rules,
            limits,
            checks,
            notifiers,
            heartbeat,
            http,
            sources: std::mem::take(&mut self.sources),
            store,
            keep,
            log_format,
            log_level,
            text: text.to_owned(),
        }
    }

    pub(super) fn name<N>(
        &mut self,
        what: &str,
        name: &At<String>,
        make: fn(&str) -> Result<N, NameError>,
    ) -> Option<N> {
        match make(&name.value) {
            Ok(name) => Some(name),
            Err(error) => {
                let title = format!("`{}` cannot be the name of {what}", name.value);
                self.error(name, title, &error.to_string(), "use letters, digits, `-`, `_` and `.`");
                None
            }
        }
    }

    pub(super) fn duration(
        &mut self,
        value: Option<At<String>>,
        least: Duration,
        default: Duration,
    ) -> Duration {
        let Some(value) = value else { return default };
        match duration::parse(&value.value) {
            Some(length) if length >= least => length,
            Some(_) => {
                let remedy = format!("write at least `{}`", duration::show(least));
                self.error(
                    &value,
                    format!("`{}` is too short", value.value),
                    "too short to be of use",
                    &remedy,
                );
                default
            }
            None => {
                let title = format!("`{}` is no duration", value.value);
                self.error(
                    &value,
                    title,
                    "not understood",
                    "write a whole number and a unit: `90s`, `15m`, `2h`, `1d`",
                );
                default
            }
        }
    }

    pub(super) fn count(&mut self, key: &str, value: Option<At<i64>>, most: usize, default: usize) -> usize {
        let Some(value) = value else { return default };
        match usize::try_from(value.value) {
            Ok(count) if (1..=most).contains(&count) => count,
            _ => {
                let title = format!("`{key}` is {}", value.value);
                self.error(&value, title, "out of range", &format!("write a number from 1 to {most}"));
                default
            }
        }
    }

    pub(super) fn choice<T: Copy>(&mut self, value: &At<String>, choices: &[(&'static str, T)]) -> Option<T> {
        let found = choices.iter().find(|(word, _)| *word == value.value).map(|(_, choice)| *choice);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let remedy = format!("write one of {}", words.join(", "));
            self.error(value, format!("`{}` is not known here", value.value), "no such choice", &remedy);
        }
        found
    }

    fn account(&mut self, name: &At<String>, raw: raw::Account) -> Option<Account> {
        let account_name = self.name("an account", name, AccountName::new);
        let endpoint = self.endpoint(raw.site, raw.endpoint);
        let role = raw.role.filter(|role| role.value);
        let keys = self.keys(name, raw.access_key, raw.secret_key, role.as_ref());
        let rate = self.count("rate", raw.rate, RATE_MAX, usize::try_from(RATE_DEFAULT).unwrap_or(5));
        let batch = self.count("batch", raw.batch, 100, BATCH_DEFAULT);
        let region = raw.region.filter(|region| {
            let fine = !region.value.is_empty()
                && region.value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !fine {
                let title = format!("`{}` is no region code", region.value);
                self.error(region, title, "letters, digits and `-` only", "write the code, such as \"KR\"");
            }
            fine
        });
        let Some(region) = region else {
            let title = format!("account `{}` names no region", name.value);
            self.error(name, title, "`region` is missing", "add the region code, such as `region = \"KR\"`");
            return None;
        };
        Some(Account {
            name: account_name?,
            endpoint: endpoint?,
            region: region.value,
            keys: keys?,
            ca_file: raw.ca_file.map(|path| PathBuf::from(path.value)),
            rate: u32::try_from(rate).unwrap_or(RATE_DEFAULT),
            batch,
        })
    }

    fn endpoint(&mut self, site: Option<At<String>>, endpoint: Option<At<String>>) -> Option<Endpoint> {
        match (site, endpoint) {
            (None, None) => Some(Endpoint::Default),
            (Some(site), None) => {
                let sites = [("public", Site::Public), ("gov", Site::Gov), ("fin", Site::Fin)];
                self.choice(&site, &sites).map(Endpoint::Site)
            }
            (None, Some(endpoint)) => match checked_endpoint(&endpoint.value) {
                Ok(url) => Some(Endpoint::Url(url)),
                Err((cause, remedy)) => {
                    // Before an `@` stands what nobody is to see.
                    let title = match endpoint.value.contains('@') {
                        true => "an endpoint cannot hold a user name or a password".to_owned(),
                        false => format!("`{}` cannot be an endpoint", endpoint.value),
                    };
                    self.error(&endpoint, title, cause, remedy);
                    None
                }
            },
            (Some(_), Some(endpoint)) => {
                let title = "an account has both `site` and `endpoint`".to_owned();
                self.error(&endpoint, title, "which of the two is meant is not clear", "remove one of them");
                None
            }
        }
    }

    fn keys(
        &mut self,
        name: &At<String>,
        access: Option<At<Secret>>,
        secret: Option<At<Secret>>,
        role: Option<&At<bool>>,
    ) -> Option<Keys> {
        if let Some(role) = role {
            if access.is_some() || secret.is_some() {
                let title = format!("account `{}` has keys and `role`", name.value);
                let remedy = "remove the keys, or remove `role`";
                self.error(role, title, "which of the two is meant is not clear", remedy);
                return None;
            }
            return Some(Keys::Role);
        }
        match (access, secret) {
            (None, None) => Some(Keys::Environment),
            (Some(access), Some(secret)) => {
                let (access, secret) = (self.secret("access_key", access), self.secret("secret_key", secret));
                Some(Keys::Named { access: access?, secret: secret? })
            }
            (Some(_), None) | (None, Some(_)) => {
                let title = format!("account `{}` has only one of `access_key` and `secret_key`", name.value);
                self.error(
                    name,
                    title,
                    "both are needed",
                    "name both, or neither to use the provider's variables",
                );
                None
            }
        }
    }

    pub(super) fn secret(&mut self, key: &str, secret: At<Secret>) -> Option<SecretSource> {
        let place = match secret.value {
            Secret::Literal => {
                let (title, cause, what) = match key {
                    "url" => (
                        "`url` is a secret".to_owned(),
                        "whoever knows it can post there, so it never stands in this file",
                        "address",
                    ),
                    _ => (format!("`{key}` holds a key"), "a key never stands in this file", "key"),
                };
                let remedy = format!(
                    "put the {what} into a file that only its owner can read and name the place: `{key} = {{ credential = \"NAME\" }}`, \
                     `{{ file = \"PATH\" }}` or `{{ env = \"NAME\" }}`; then make a new {what}, since this one may have been seen"
                );
                self.problems.push(Problem::error(secret.span, title, cause, remedy));
                return None;
            }
            Secret::Place(place) => place,
        };
        match (place.credential, place.file, place.env) {
            (Some(name), None, None) if is_plain_name(&name) => Some(SecretSource::Credential(name)),
            (None, Some(path), None) if !path.is_empty() => Some(SecretSource::File(PathBuf::from(path))),
            (None, None, Some(name)) if is_plain_name(&name) => Some(SecretSource::Env(name)),
            _ => {
                let title = format!("`{key}` does not name one place");
                let remedy = "write just one of `credential`, `file` and `env`, with a plain name";
                self.problems.push(Problem::error(secret.span, title, "not one place", remedy));
                None
            }
        }
    }

    /// Two accounts with one key at one endpoint would each think that it alone acts.
    fn same_keys_twice(&mut self, accounts: &BTreeMap<AccountName, Account>) {
        let list: Vec<&Account> = accounts.values().collect();
        for (index, one) in list.iter().enumerate() {
            for other in list.iter().skip(index + 1) {
                if one.keys == other.keys && one.endpoint == other.endpoint && one.region == other.region {
                    let title = format!("accounts `{}` and `{}` are the same", one.name, other.name);
                    let cause = "same endpoint, region and keys";
                    self.problems.push(Problem::error(
                        0..0,
                        title,
                        cause,
                        "remove one and name the other in its groups",
                    ));
                }
            }
        }
    }

    fn store(&mut self, raw: raw::Store) -> (StoreLocation, Duration) {
        let keep = self.duration(raw.keep, Duration::from_hours(24), KEEP_DEFAULT);
        let Some(url) = raw.url else {
            return (StoreLocation::Default, keep);
        };
        let location = match url.value.strip_prefix("sqlite:") {
            Some("$STATE_DIRECTORY/sunup.db") => StoreLocation::Default,
            Some(path) if !path.is_empty() && !path.contains('$') && !path.contains('?') => {
                StoreLocation::File(PathBuf::from(path))
            }
            _ if url.value.starts_with("postgres") => {
                let (title, cause) =
                    ("PostgreSQL is not built in yet".to_owned(), "this version keeps its journal in SQLite");
                self.error(&url, title, cause, "write `sqlite:/path/sunup.db`, or remove `url`");
                StoreLocation::Default
            }
            _ => {
                // The URL may hold a password, so it is not repeated.
                let title = "`store.url` is not understood".to_owned();
                self.error(
                    &url,
                    title,
                    "no path to a SQLite file",
                    "write `sqlite:/path/sunup.db`, or remove `url`",
                );
                StoreLocation::Default
            }
        };
        (location, keep)
    }

    fn checks(&mut self, raw: raw::Checks) -> Checks {
        let default = Checks::default();
        let preflight = self.between(raw.preflight, PREFLIGHT_MIN, PREFLIGHT_MAX, default.preflight);
        let rehearse = raw
            .rehearse
            .map(|rehearse| self.between(Some(rehearse), REHEARSE_MIN, REHEARSE_MAX, REHEARSE_MIN));
        Checks { preflight, rehearse }
    }

    /// A duration within bounds.
    pub(super) fn between(
        &mut self,
        value: Option<At<String>>,
        least: Duration,
        most: Duration,
        default: Duration,
    ) -> Duration {
        let place = value.clone();
        let length = self.duration(value, least, default);
        if let Some(place) = place.filter(|_| length > most) {
            let remedy = format!("write at most `{}`", duration::show(most));
            self.error(&place, format!("`{}` is too long", place.value), "longer than it may be", &remedy);
            return default;
        }
        length
    }

    fn log(&mut self, raw: raw::Log) -> (Option<LogFormat>, LogLevel) {
        let formats =
            [("text", LogFormat::Text), ("json", LogFormat::Json), ("journald", LogFormat::Journald)];
        let levels = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        let format = raw.format.and_then(|format| self.choice(&format, &formats));
        let level = raw.level.and_then(|level| self.choice(&level, &levels));
        (format, level.unwrap_or_default())
    }
}

/// "did you mean", or the names there are.
pub(super) fn remedy_for(word: &str, known: &[&str], what: &str) -> String {
    match did_you_mean(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("the file has no {what} yet"),
        None => format!("the file has `{}`", known.join("`, `")),
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && name != ".."
}

/// Checks an endpoint: `https://host[:port]`, or `http://` for loopback alone. Returns it without a slash at the end.
///
/// # Errors
/// The cause and the remedy, in words.
pub(super) fn checked_endpoint(url: &str) -> Result<String, (&'static str, &'static str)> {
    const FORM: &str = "write scheme and host alone, such as `https://ncloud.apigw.ntruss.com`";
    let url = url.strip_suffix('/').unwrap_or(url);
    let (plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(("it is no https URL", FORM)),
    };
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ', '\\']) {
        return Err(("only scheme and host may be given", FORM));
    }
    let parsed: Result<hyper::Uri, _> = url.parse();
    let Some(host) = parsed.ok().and_then(|uri| uri.host().map(ToOwned::to_owned)) else {
        return Err(("it is no URL", FORM));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if plain && !loopback {
        return Err((
            "keys would travel where others can read along",
            "use `https://`; `http://` is for loopback alone",
        ));
    }
    Ok(url.to_owned())
}
