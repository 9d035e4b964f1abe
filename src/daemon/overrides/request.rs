//! What people write to the control socket about overrides, and what it means by the configuration.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, named};
use crate::daemon::control::{login, plain, server_id};
use crate::domain::name::GroupName;
use crate::domain::overrides::{Kind, On, Override, Scope};
use crate::settings::Settings;

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

/// What `POST /v1/overrides` takes to make an override, and `POST /v1/overrides/end` to end those of a rule, a group or a server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// `pause`, `skip` or `keep`; a pause if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A rule or a group; `rule:NAME` or `group:NAME` where both have the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A server, for a keep: its number, `ACCOUNT/NUMBER` or a name that a read has shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What the servers stay, for a keep: `on` or `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<String>,
    /// What follows a keep: `apply` (what rules wanted meanwhile; if it is left out), `leave`, or `stop` and `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Which occurrence is skipped: a date, or its planned moment in RFC 3339; the next one if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// From when on, RFC 3339; from now on if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, in the person's words.
    #[serde(default)]
    pub reason: String,
    /// The login name of the person, as the command claims it.
    pub who: String,
}

impl OverrideRequest {
    /// What is to be made. `servers` is what the engine knows of groups, as it shows it.
    pub(in crate::daemon) fn made(self, settings: &Settings, servers: &Value) -> Result<Change, String> {
        let word = self.kind.as_deref().unwrap_or("pause");
        let belongs: &[&str] = match word {
            "pause" => &["name", "from", "until"],
            "skip" => &["name", "on"],
            "keep" => &["name", "server", "stays", "then", "from", "until"],
            _ => return Err(format!("`{word}` is no override; there are pause, skip and keep")),
        };
        if let Some(odd) = self.given().find(|field| !belongs.contains(field)) {
            return Err(format!("`{odd}` does not go with a {word}"));
        }
        let reason = plain(&self.reason, REASON_CHARS_MAX);
        let who = login(&self.who);
        if word == "skip" {
            let text = self.name.as_deref().ok_or("name the rule")?;
            let Scope::Rule(rule) = named(text, settings)? else {
                return Err(format!(
                    "`{text}` is a group: a skip is of a rule; `sunup pause` takes groups too"
                ));
            };
            return Ok(Change::Skip { rule, on: on(self.on.as_deref())?, reason, who });
        }
        let until = self.until.ok_or_else(|| format!("a {word} needs an end: `until`"))?;
        let kind = Kind::from_words(word, self.stays.as_deref(), self.then.as_deref()).ok_or(
            "a keep needs `stays`, `on` or `off`; what follows it, `then`, is `apply` or `leave`, `stop` after `on`, `start` after `off`",
        )?;
        let scope = match kind {
            Kind::Keep { .. } => self.kept(settings, servers)?,
            Kind::Pause | Kind::Skip => {
                named(self.name.as_deref().ok_or("name a rule or a group")?, settings)?
            }
        };
        Ok(Change::Make { kind, scope, from: self.from, until, reason, who })
    }

    /// What is to be ended. `known` are all overrides.
    pub(in crate::daemon) fn ended(
        self,
        settings: &Settings,
        servers: &Value,
        known: &[Override],
    ) -> Result<Change, String> {
        if let Some(odd) = self.given().find(|field| !["name", "server"].contains(field)) {
            return Err(format!("`{odd}` does not go with an override that ends now"));
        }
        let found = match &self.name {
            Some(name) if self.server.is_none() => named(name, settings),
            _ => self.kept(settings, servers),
        };
        let scope = found.or_else(|words| {
            // What it is of may have been removed from the configuration since.
            let name = self.name.as_deref().or(self.server.as_deref());
            let is_it = |scope: &&Scope| {
                let names = [scope.name(), format!("{}:{}", scope.word(), scope.name())];
                name.is_some_and(|name| names.iter().any(|one| one == name))
            };
            let mut left = known.iter().filter(|one| one.ended.is_none()).map(|one| &one.scope);
            left.find(is_it).cloned().ok_or(words)
        })?;
        Ok(Change::End { scope, who: login(&self.who) })
    }

    fn given(&self) -> impl Iterator<Item = &'static str> {
        let fields = [
            ("name", self.name.is_some()),
            ("server", self.server.is_some()),
            ("stays", self.stays.is_some()),
            ("then", self.then.is_some()),
            ("on", self.on.is_some()),
            ("from", self.from.is_some()),
            ("until", self.until.is_some()),
        ];
        fields.into_iter().filter(|(_, is_given)| *is_given).map(|(field, _)| field)
    }

    fn kept(&self, settings: &Settings, servers: &Value) -> Result<Scope, String> {
        match (&self.name, &self.server) {
            (Some(name), None) => {
                let name = name.strip_prefix("group:").unwrap_or(name);
                let group = GroupName::new(name).ok().filter(|name| settings.groups.contains_key(name));
                group.map(Scope::Group).ok_or_else(|| {
                    let known: Vec<&str> = settings.groups.keys().map(GroupName::as_str).collect();
                    format!("there is no group `{name}`; the configuration has `{}`", known.join("`, `"))
                })
            }
            (None, Some(server)) => server_id(server, settings, servers).map(Scope::Server),
            (Some(_), Some(_)) => Err("name a group or a server, not both".into()),
            (None, None) => Err("name a group, or a server with --server".into()),
        }
    }
}

/// Which occurrence a text means.
fn on(text: Option<&str>) -> Result<On, String> {
    let Some(text) = text else { return Ok(On::Next) };
    let date = text.parse::<Date>().map(On::Date).ok().filter(|_| !text.contains('T'));
    date.or_else(|| text.parse().map(On::Moment).ok()).ok_or_else(|| {
        format!(
            "`{text}` is neither a date such as 2026-12-01 nor a moment such as 2026-12-01T08:50:00+09:00"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::scene;
    use crate::domain::name::Action;
    use crate::domain::overrides::Then;

    const RULES: &str = "[rules.night]\ncron = \"0 20 * * *\"\nstop = [\"db\"]\n";

    fn request(kind: &str) -> OverrideRequest {
        OverrideRequest { kind: Some(kind.into()), who: "kim".into(), ..OverrideRequest::default() }
    }

    fn made(request: OverrideRequest) -> Result<Change, String> {
        request.made(&scene::settings(RULES), &Value::Null)
    }

    #[test]
    fn a_keep_is_of_a_group_or_a_server_and_says_what_stays_and_what_follows() {
        let until = Some(scene::at("22:00:00"));
        let on = OverrideRequest { stays: Some("on".into()), until, ..request("keep") };
        let group = OverrideRequest { name: Some("db".into()), then: Some("stop".into()), ..on.clone() };
        let server = OverrideRequest { server: Some("main/1002".into()), ..on.clone() };
        let of = |request: OverrideRequest| match made(request) {
            Ok(Change::Make { kind, scope, .. }) => (kind, scope.to_string()),
            other => panic!("{other:?}"),
        };

        assert_eq!(
            of(group.clone()),
            (Kind::Keep { forbids: Action::Stop, then: Then::Act }, "group db".into())
        );
        assert_eq!(
            of(server.clone()),
            (Kind::Keep { forbids: Action::Stop, then: Then::Apply }, "server main/1002".into())
        );
        let both = OverrideRequest { name: Some("db".into()), ..server };
        assert_eq!(made(both), Err("name a group or a server, not both".into()));
        assert_eq!(made(on), Err("name a group, or a server with --server".into()));
        let wrong = OverrideRequest { then: Some("start".into()), ..group.clone() };
        assert!(made(wrong).unwrap_err().contains("`stop` after `on`"));
        let rule = OverrideRequest { name: Some("night".into()), ..group };
        assert!(made(rule).unwrap_err().contains("there is no group `night`"));
    }

    #[test]
    fn each_kind_takes_its_own_fields_alone() {
        let until = Some(scene::at("22:00:00"));
        let name = Some("night".to_owned());
        let table = [
            (
                OverrideRequest {
                    name: name.clone(),
                    until,
                    on: Some("2026-12-01".into()),
                    ..request("pause")
                },
                "`on` does not go with a pause",
            ),
            (
                OverrideRequest { name: name.clone(), until, ..request("skip") },
                "`until` does not go with a skip",
            ),
            (OverrideRequest { name: name.clone(), ..request("pause") }, "a pause needs an end: `until`"),
            (
                OverrideRequest { name: Some("db".into()), ..request("skip") },
                "`db` is a group: a skip is of a rule; `sunup pause` takes groups too",
            ),
            (
                OverrideRequest { name: name.clone(), on: Some("soon".into()), ..request("skip") },
                "`soon` is neither",
            ),
            (
                OverrideRequest { name, ..request("hold") },
                "`hold` is no override; there are pause, skip and keep",
            ),
        ];

        for (request, want) in table {
            let words = made(request).unwrap_err();
            assert!(words.starts_with(want), "{words}");
        }
    }

    #[test]
    fn what_is_gone_from_the_configuration_can_still_be_ended() {
        let settings = scene::settings("");
        let known = Override {
            id: crate::domain::name::OverrideId(1),
            kind: Kind::Pause,
            scope: Scope::from_words("rule", "old").unwrap(),
            from: scene::at("08:00:00"),
            until: scene::at("20:00:00"),
            reason: String::new(),
            who: "kim".into(),
            ended: None,
        };
        let end = |name: &str| {
            let request =
                OverrideRequest { name: Some(name.into()), who: "lee".into(), ..OverrideRequest::default() };
            request.ended(&settings, &Value::Null, std::slice::from_ref(&known))
        };

        let ended = Change::End { scope: known.scope.clone(), who: "lee".into() };
        assert_eq!((end("old"), end("rule:old")), (Ok(ended.clone()), Ok(ended)));
        assert!(end("older").is_err());
    }
}
