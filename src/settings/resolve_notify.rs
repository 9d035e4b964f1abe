//! From raw notifiers and the heartbeat to values that make sense.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostics::Problem;
use super::raw::{self, At};
use super::resolve::{Resolver, remedy_for};
use super::secret::SecretSource;
use super::{Heartbeat, Http, Listen, Notify, NotifyKind, Tls};
use crate::domain::name::{GroupName, NotifyName, RuleName};
use crate::domain::notice::{Interest, NoticeKind, Urgency};
use crate::domain::summary::SummaryTime;

/// How long notices are gathered into one message, where the file says nothing.
const DIGEST_DEFAULT: Duration = Duration::from_secs(20);
/// The longest time to gather notices.
const DIGEST_MAX: Duration = Duration::from_hours(1);
/// How often a heartbeat is sent, where the file says nothing.
const BEAT_DEFAULT: Duration = Duration::from_mins(1);
/// And at most.
const BEAT_LEAST: Duration = Duration::from_secs(10);

/// What is told where the file says nothing: everything but the ends of people's own overrides.
const KINDS_DEFAULT: [NoticeKind; 7] = [
    NoticeKind::Failed,
    NoticeKind::Missed,
    NoticeKind::Late,
    NoticeKind::Recovered,
    NoticeKind::Guard,
    NoticeKind::Config,
    NoticeKind::Trouble,
];

#[derive(Clone, Copy)]
enum Word {
    Slack,
    Webhook,
    Email,
    Command,
}

impl Resolver<'_> {
    pub(super) fn notifiers(
        &mut self,
        raw: Vec<(At<String>, raw::Notify)>,
        rules: &BTreeSet<String>,
        groups: &BTreeSet<String>,
    ) -> BTreeMap<NotifyName, Notify> {
        let mut found = BTreeMap::new();
        for (name, raw) in raw {
            if let Some(notify) = self.notifier(&name, raw, rules, groups) {
                found.insert(notify.name.clone(), notify);
            }
        }
        found
    }

    fn notifier(
        &mut self,
        name: &At<String>,
        raw: raw::Notify,
        rules: &BTreeSet<String>,
        groups: &BTreeSet<String>,
    ) -> Option<Notify> {
        let notify_name = self.name("a notifier", name, NotifyName::new);
        let words = [
            ("slack", Word::Slack),
            ("webhook", Word::Webhook),
            ("email", Word::Email),
            ("command", Word::Command),
        ];
        let word = match &raw.kind {
            Some(kind) => self.choice(kind, &words),
            None => {
                let title = format!("notifier `{}` has no `kind`", name.value);
                let remedy = "write one of \"slack\", \"webhook\", \"email\", \"command\"";
                self.error(name, title, "how it tells people is not known", remedy);
                None
            }
        };
        let kinds: Vec<(&'static str, NoticeKind)> =
            NoticeKind::ALL.iter().map(|kind| (kind.word(), *kind)).collect();
        let on: Vec<NoticeKind> = match &raw.on {
            None => KINDS_DEFAULT.to_vec(),
            Some((_, list)) => list.iter().filter_map(|word| self.choice(word, &kinds)).collect(),
        };
        if let Some((span, list)) = &raw.on
            && list.is_empty()
        {
            let place = At { value: (), span: span.clone() };
            self.error(
                &place,
                "`on` is an empty list".into(),
                "it would tell nothing",
                "name a kind, or remove the key",
            );
        }
        let urgencies = [("good-to-know", Urgency::GoodToKnow), ("needs-a-person", Urgency::NeedsAPerson)];
        let least =
            raw.least.as_ref().map_or(Some(Urgency::GoodToKnow), |word| self.choice(word, &urgencies));
        let digest = self.duration(raw.digest.clone(), Duration::ZERO, DIGEST_DEFAULT);
        if digest > DIGEST_MAX
            && let Some(said) = &raw.digest
        {
            let title = format!("the digest `{}` is too long", said.value);
            self.error(said, title, "nobody would be told in time", "write at most `1h`");
        }
        let summary = raw.summary.as_ref().and_then(|text| {
            let time = SummaryTime::read(&text.value);
            if time.is_none() {
                let title = format!("`{}` is no time of a summary", text.value);
                let remedy = "write `\"18:00\"` for every day, or `\"MON 09:00\"` for once a week";
                self.error(text, title, "when it is told is not known", remedy);
            }
            time
        });
        let interest = Interest {
            kinds: on,
            least: least?,
            rules: self.known(raw.rules.as_deref().unwrap_or_default(), "rule", rules, RuleName::new),
            groups: self.known(raw.groups.as_deref().unwrap_or_default(), "group", groups, GroupName::new),
        };
        let kind = self.kind(name, word?, raw)?;
        Some(Notify { name: notify_name?, kind: kind.0, interest, digest, summary, allow_private: kind.1 })
    }

    /// How people are told, and whether addresses that are not public are allowed.
    fn kind(&mut self, name: &At<String>, word: Word, raw: raw::Notify) -> Option<(NotifyKind, bool)> {
        let allow_private = raw.allow_private.as_ref().is_some_and(|allow| allow.value);
        let belongs: &[&str] = match word {
            Word::Slack => &["url", "allow_private"],
            Word::Webhook => &["url", "secret", "allow_private"],
            Word::Email => &["smtp", "from", "to", "allow_private"],
            Word::Command => &["command"],
        };
        let given = [
            ("url", raw.url.as_ref().map(|url| url.span.clone())),
            ("secret", raw.secret.as_ref().map(|secret| secret.span.clone())),
            ("smtp", raw.smtp.as_ref().map(|smtp| smtp.span.clone())),
            ("from", raw.from.as_ref().map(|from| from.span.clone())),
            ("to", raw.to.as_ref().map(|(span, _)| span.clone())),
            ("command", raw.command.as_ref().map(|(span, _)| span.clone())),
            ("allow_private", raw.allow_private.as_ref().map(|allow| allow.span.clone())),
        ];
        for (key, span) in given {
            if let Some(span) = span.filter(|_| !belongs.contains(&key)) {
                let title = format!("`{key}` does not go with the kind of notifier `{}`", name.value);
                self.error(&At { value: (), span }, title, "it would do nothing", "remove it");
            }
        }
        let kind = match word {
            Word::Slack => NotifyKind::Slack { url: self.notify_url(name, raw.url)? },
            Word::Webhook => {
                let secret = raw.secret.and_then(|secret| self.secret("secret", secret));
                NotifyKind::Webhook { url: self.notify_url(name, raw.url)?, secret }
            }
            Word::Email => self.email(name, raw)?,
            Word::Command => {
                let command: Vec<String> = raw
                    .command
                    .map(|(_, list)| list.into_iter().map(|word| word.value).collect())
                    .unwrap_or_default();
                let remedy = "write `command = [\"/full/path\", \"argument\"]`";
                match command.first() {
                    Some(program) if program.starts_with('/') => {}
                    Some(program) => {
                        let title = format!("notifier `{}` names `{program}` without its folder", name.value);
                        self.error(name, title, "programs are not searched for", remedy);
                        return None;
                    }
                    None => {
                        let title = format!("notifier `{}` names no program", name.value);
                        self.error(name, title, "its kind is `command`", remedy);
                        return None;
                    }
                }
                NotifyKind::Command { command }
            }
        };
        Some((kind, allow_private))
    }

    fn email(&mut self, name: &At<String>, raw: raw::Notify) -> Option<NotifyKind> {
        let cause = "a mail goes by a server, from an address, to others";
        let mut lacks = |key: &str, remedy: &str| {
            let title = format!("notifier `{}` has no `{key}`", name.value);
            self.problems.push(Problem::error(name.span.clone(), title, cause, remedy));
        };
        if raw.smtp.is_none() {
            lacks("smtp", "write `smtp = { credential = \"NAME\" }`; it holds `smtps://user:password@host`");
        }
        if raw.from.is_none() {
            lacks("from", "write `from = \"Sunup <sunup@example.com>\"`");
        }
        let to = raw.to.map(|(_, list)| list).unwrap_or_default();
        if to.is_empty() {
            lacks("to", "write `to = [\"team@example.com\"]`");
        }
        for address in to.iter().chain(&raw.from) {
            if !is_mail_address(&address.value) {
                let title = format!("`{}` is no mail address", address.value);
                let remedy = "write `user@host`, or `Name <user@host>`";
                self.error(address, title, "a mail needs one", remedy);
            }
        }
        let smtp = self.secret("smtp", raw.smtp?)?;
        let to = to.into_iter().map(|address| address.value).collect();
        Some(NotifyKind::Email { smtp, from: raw.from?.value, to })
    }

    fn notify_url(&mut self, name: &At<String>, url: Option<At<raw::Secret>>) -> Option<SecretSource> {
        match url {
            Some(url) => self.secret("url", url),
            None => {
                let title = format!("notifier `{}` has no `url`", name.value);
                let remedy =
                    "write `url = { credential = \"NAME\" }`, `{ file = \"PATH\" }` or `{ env = \"NAME\" }`";
                self.error(
                    name,
                    title,
                    "whoever knows such an address can write there, so it is a secret",
                    remedy,
                );
                None
            }
        }
    }

    fn known<N>(
        &mut self,
        list: &[At<String>],
        what: &str,
        names: &BTreeSet<String>,
        make: fn(&str) -> Result<N, crate::domain::name::NameError>,
    ) -> Vec<N> {
        let mut found = Vec::new();
        for word in list {
            match make(&word.value).ok().filter(|_| names.contains(&word.value)) {
                Some(name) => found.push(name),
                None => {
                    let known: Vec<&str> = names.iter().map(String::as_str).collect();
                    let title = format!("there is no {what} `{}`", word.value);
                    self.error(word, title, "a notifier names it", &remedy_for(&word.value, &known, what));
                }
            }
        }
        found
    }

    pub(super) fn http(&mut self, raw: raw::Http) -> Option<Http> {
        let Some(listen) = raw.listen else {
            if let Some(token) = &raw.token {
                let remedy = "write `listen = \"127.0.0.1:7717\"`, or remove the table";
                self.error(token, "`http` has no `listen`".into(), "nothing listens without it", remedy);
            }
            return None;
        };
        let place = self.listen(&listen)?;
        let is_far = matches!(&place, Listen::Tcp(address) if !address.ip().is_loopback());
        let (has_token, has_tls) = (raw.token.is_some(), raw.tls.certificate.is_some());
        if is_far && !(has_token && has_tls) {
            let title = format!("`{}` can be reached from other machines", listen.value);
            let cause = "whoever asks there must bring a token, over TLS";
            let remedy = "add `token = { credential = \"NAME\" }` and `tls = { certificate = \"/path\", key = { credential = \"NAME\" } }`, \
                          or write `127.0.0.1:7717`, `[::1]:7717` or `unix:/run/sunup/http.sock`";
            self.error(&listen, title, cause, remedy);
        }
        let token = raw.token.and_then(|token| self.secret("token", token));
        let tls = self.tls(&listen, raw.tls);
        let hosts = raw.hosts.into_iter().map(|host| host.value.to_lowercase()).collect();
        Some(Http { listen: place, token, tls, hosts })
    }

    fn listen(&mut self, listen: &At<String>) -> Option<Listen> {
        let remedy = "write `127.0.0.1:7717`, `[::1]:7717` or `unix:/run/sunup/http.sock`";
        let title = || format!("`{}` is no place to listen", listen.value);
        match listen.value.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Some(Listen::Unix(PathBuf::from(path))),
            Some(_) => {
                self.error(listen, title(), "the path is not a full one", remedy);
                None
            }
            None => {
                let address = listen.value.parse::<SocketAddr>().ok();
                if address.is_none() {
                    self.error(listen, title(), "it is no address with a port", remedy);
                }
                address.map(Listen::Tcp)
            }
        }
    }

    fn tls(&mut self, listen: &At<String>, raw: raw::Tls) -> Option<Tls> {
        let remedy = "write `tls = { certificate = \"/path\", key = { credential = \"NAME\" } }`";
        match (raw.certificate, raw.key) {
            (Some(certificate), Some(key)) => {
                if !certificate.value.starts_with('/') {
                    let title = format!("`{}` is no full path", certificate.value);
                    self.error(&certificate, title, "it must be found wherever the program is run", remedy);
                }
                let key = self.secret("key", key)?;
                Some(Tls { certificate: PathBuf::from(certificate.value), key })
            }
            (None, None) => None,
            (Some(at), None) => {
                self.error(&at, "`tls` has no `key`".into(), "nobody could be shown who this is", remedy);
                None
            }
            (None, Some(_)) => {
                self.error(
                    listen,
                    "`tls` has no `certificate`".into(),
                    "nobody could be shown who this is",
                    remedy,
                );
                None
            }
        }
    }

    pub(super) fn heartbeat(&mut self, raw: raw::Heartbeat) -> Option<Heartbeat> {
        let every = self.duration(raw.every.clone(), BEAT_LEAST, BEAT_DEFAULT);
        let allow_private = raw.allow_private.is_some_and(|allow| allow.value);
        let Some(url) = raw.url else {
            if let Some(place) = &raw.every {
                let remedy = "write `url = { credential = \"NAME\" }`, or remove the table";
                self.error(place, "`heartbeat` has no `url`".into(), "nobody is told", remedy);
            }
            return None;
        };
        let url = self.secret("url", url)?;
        Some(Heartbeat { url, every, allow_private })
    }
}

/// Whether a text has the shape of `user@host` or `Name <user@host>`; the mail itself is the last word.
fn is_mail_address(text: &str) -> bool {
    let bare = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let is_plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "<>@,".contains(c));
    !text.contains(char::is_control)
        && bare.split_once('@').is_some_and(|(user, host)| is_plain(user) && is_plain(host))
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    const REST: &str = "timezone = \"UTC\"\n[accounts.main]\nregion = \"KR\"\n[groups.web]\nservers = [\"1\"]\n\
                        [rules.office]\nhours = \"MON-FRI 09:00-18:00\"\nrun = [\"web\"]\n";

    fn read(text: &str) -> Result<Settings, Vec<String>> {
        let read = Settings::read(&format!("{REST}{text}"));
        read.map(|loaded| loaded.settings).map_err(|problems| {
            problems
                .into_iter()
                .map(|problem| format!("{}: {}; {}", problem.title, problem.cause, problem.remedy))
                .collect()
        })
    }

    #[test]
    fn a_notifier_is_read_with_all_that_it_says_and_what_it_leaves_out() {
        let settings = read(
            "[notify.chat]\nkind = \"slack\"\nurl = { env = \"CHAT\" }\n\
             [notify.pager]\nkind = \"webhook\"\nurl = { file = \"/u\" }\nsecret = { credential = \"s\" }\n\
             on = [\"failed\", \"override\"]\nleast = \"needs-a-person\"\nrules = \"office\"\ngroups = [\"web\"]\n\
             digest = \"2m\"\nallow_private = true\n\
             [notify.mail]\nkind = \"command\"\ncommand = [\"/bin/mail\", \"ops\"]\n\
             [heartbeat]\nurl = { env = \"BEAT\" }\nevery = \"30s\"\n",
        )
        .unwrap();

        let of = |name: &str| &settings.notifiers[&NotifyName::new(name).unwrap()];
        let chat = of("chat");
        assert_eq!(chat.kind, NotifyKind::Slack { url: SecretSource::Env("CHAT".into()) });
        assert_eq!((chat.digest, chat.allow_private), (DIGEST_DEFAULT, false));
        assert!(!chat.interest.kinds.contains(&NoticeKind::Override) && chat.interest.kinds.len() == 7);
        let pager = of("pager");
        assert!(
            matches!(&pager.kind, NotifyKind::Webhook { secret: Some(SecretSource::Credential(name)), .. } if name == "s")
        );
        assert_eq!(pager.interest.kinds, [NoticeKind::Failed, NoticeKind::Override]);
        assert_eq!(
            (pager.interest.least, pager.digest, pager.allow_private),
            (Urgency::NeedsAPerson, Duration::from_mins(2), true)
        );
        assert_eq!((pager.interest.rules.len(), pager.interest.groups.len()), (1, 1));
        assert_eq!(of("mail").kind, NotifyKind::Command { command: vec!["/bin/mail".into(), "ops".into()] });
        let beat = Heartbeat {
            url: SecretSource::Env("BEAT".into()),
            every: Duration::from_secs(30),
            allow_private: false,
        };
        assert_eq!(settings.heartbeat, Some(beat));
        assert_eq!((read("").unwrap().heartbeat, read("").unwrap().http), (None, None));
        let listens =
            |text: &str| read(&format!("[http]\nlisten = \"{text}\"\n")).unwrap().http.unwrap().listen;
        assert_eq!(listens("127.0.0.1:7717"), Listen::Tcp("127.0.0.1:7717".parse().unwrap()));
        assert_eq!(listens("[::1]:0"), Listen::Tcp("[::1]:0".parse().unwrap()));
        assert_eq!(listens("unix:/run/x"), Listen::Unix("/run/x".into()));
    }

    #[test]
    fn mistakes_in_notifiers_are_told_with_the_remedy() {
        let table = [
            ("[notify.a]\n", "has no `kind`"),
            (
                "[notify.a]\nkind = \"pigeon\"\n",
                "write one of \"slack\", \"webhook\", \"email\", \"command\"",
            ),
            ("[notify.a]\nkind = \"slack\"\n", "has no `url`"),
            ("[notify.a]\nkind = \"slack\"\nurl = \"https://hooks.example/T0\"\n", "`url` is a secret"),
            (
                "[notify.a]\nkind = \"slack\"\nurl = { env = \"U\" }\nsecret = { env = \"S\" }\n",
                "`secret` does not go with the kind",
            ),
            ("[notify.a]\nkind = \"command\"\n", "names no program"),
            ("[notify.a]\nkind = \"command\"\ncommand = [\"mail\"]\n", "names `mail` without its folder"),
            (
                "[notify.a]\nkind = \"command\"\ncommand = [\"/m\"]\nurl = { env = \"U\" }\n",
                "`url` does not go with the kind",
            ),
            ("[notify.a]\nkind = \"command\"\ncommand = [\"/m\"]\non = []\n", "`on` is an empty list"),
            (
                "[notify.a]\nkind = \"command\"\ncommand = [\"/m\"]\non = [\"failure\"]\n",
                "`failure` is not known here",
            ),
            (
                "[notify.a]\nkind = \"command\"\ncommand = [\"/m\"]\nrules = [\"ofice\"]\n",
                "did you mean `office`?",
            ),
            (
                "[notify.a]\nkind = \"command\"\ncommand = [\"/m\"]\ngroups = [\"db\"]\n",
                "there is no group `db`",
            ),
            ("[notify.a]\nkind = \"command\"\ncommand = [\"/m\"]\ndigest = \"2h\"\n", "write at most `1h`"),
            (
                "[notify.\"a b\"]\nkind = \"command\"\ncommand = [\"/m\"]\n",
                "cannot be the name of a notifier",
            ),
            ("[http]\nlisten = \"0.0.0.0:7717\"\n", "can be reached from other machines"),
            ("[http]\nlisten = \"10.0.0.1:7717\"\n", "must bring a token, over TLS"),
            ("[http]\nlisten = \"127.0.0.1:1\"\ntls = { certificate = \"/x\" }\n", "`tls` has no `key`"),
            (
                "[http]\nlisten = \"127.0.0.1:1\"\ntls = { certificate = \"x\", key = { env = \"K\" } }\n",
                "no full path",
            ),
            (
                "[http]\nlisten = \"127.0.0.1:1\"\ntls = { key = { env = \"K\" } }\n",
                "`tls` has no `certificate`",
            ),
            ("[http]\nlisten = \"7717\"\n", "is no place to listen"),
            ("[http]\nlisten = \"localhost:7717\"\n", "no address with a port"),
            ("[http]\nlisten = \"unix:run/x\"\n", "not a full one"),
            ("[http]\ntoken = { env = \"T\" }\n", "`http` has no `listen`"),
            ("[http]\nlisten = \"127.0.0.1:1\"\ntoken = \"abc\"\n", "`token` holds a key"),
            ("[notify.a]\nkind = \"slack\"\nsummary = \"daily\"\n", "\"MON 09:00\""),
            ("[heartbeat]\nevery = \"1m\"\n", "`heartbeat` has no `url`"),
            ("[heartbeat]\nurl = { env = \"U\" }\nevery = \"1s\"\n", "10s"),
        ];

        for (text, words) in table {
            let problems = read(text).expect_err(text).join("\n");
            assert!(problems.contains(words), "{text}: {problems}");
            assert!(!problems.contains("hooks.example"), "{problems}");
        }
    }
}
