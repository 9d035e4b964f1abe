//! `sunup skip`: one occurrence of a rule, or one span of its hours, is left undone.

use clap::Args;
use jiff::civil::Date;

use super::client::Client;
use super::exit::Exit;
use super::pause::{MAKE, change, next_after, read, wait};
use super::{Common, ask, load, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::environment;
use crate::daemon::overrides::OverrideRequest;
use crate::daemon::view;
use crate::domain::name::RuleName;
use crate::domain::overrides::Overrides;
use crate::ports::clock::Clock;

#[derive(Args)]
pub(super) struct Options {
    /// A rule
    rule: String,
    /// The one that is planned on a date, or at a moment: 2026-12-01, 2026-12-01T08:50 [default: the next one]
    #[arg(long, value_name = "DATE")]
    on: Option<String>,
    /// Why, for those who look at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn main(common: &Common, options: &Options) -> anyhow::Result<Exit> {
    wait(async {
        let client = Client::of_running(&load::socket(common)).await?;
        let settings = client.settings().await?;
        let now = SystemClock.now();
        let bare = options.rule.strip_prefix("rule:").unwrap_or(&options.rule);
        let rule = RuleName::new(bare).ok().and_then(|name| settings.rules.get(&name));
        let zone = view::zone_of(Some(&settings), rule.map(|rule| rule.name.as_str()));
        let on = match &options.on {
            Some(date) if date.len() <= "2026-12-01".len() && date.parse::<Date>().is_ok() => {
                Some(date.clone())
            }
            Some(moment) => Some(ask::moment(moment, &zone, now)?.to_string()),
            None => None,
        };
        let request = OverrideRequest {
            kind: Some("skip".into()),
            name: Some(format!("rule:{bare}")),
            on,
            reason: options.reason.clone().unwrap_or_default(),
            who: environment::login_name(),
            ..OverrideRequest::default()
        };
        let Some(made) = change(common, &client, MAKE, &request).await? else { return Ok(Exit::Done) };
        let known = Overrides::new(read(&client.get("/v1/overrides").await?));
        for one in made {
            show::line(&one.words(&zone));
            if let Some(words) = next_after(now, rule.into_iter(), &known, &zone) {
                show::line(&format!("next: {words}"));
            }
        }
        show::word("`sunup resume` of the rule takes it back");
        Ok(Exit::Done)
    })
}
