//! `sunup completions` and `sunup man`: made from the same definition as the commands themselves.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::exit::Exit;
use super::show;

#[derive(Args)]
pub(super) struct Completions {
    /// Of which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Args)]
pub(super) struct Pages {
    /// Write the page of the program and one of each command into this folder instead
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn completions(mut command: Command, options: &Completions) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "sunup", &mut script);
    show::raw(&String::from_utf8(script)?);
    Ok(Exit::Done)
}

pub(super) fn man(command: Command, options: &Pages) -> anyhow::Result<Exit> {
    // `help` has no page of its own: it shows what the pages say.
    let command = command.disable_help_subcommand(true);
    let Some(folder) = &options.out else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        show::raw(&String::from_utf8(page)?);
        return Ok(Exit::Done);
    };
    clap_mangen::generate_to(command, folder).map_err(|error| {
        Exit::Usage.with(format!("no pages can be written into `{}`: {error}", folder.display()))
    })?;
    Ok(Exit::Done)
}
