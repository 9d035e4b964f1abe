//! The command line: one file a command. Results on standard output, words about them on standard error.

mod again;
mod ask;
mod audit;
mod backup;
mod check;
mod client;
#[cfg(feature = "sandbox")]
mod demo;
mod doctor;
mod dry;
mod exit;
mod groups;
mod heartbeat;
mod history;
mod host;
mod init;
mod keep;
mod listener;
mod load;
mod manual;
mod notify;
mod pause;
mod person;
mod plan;
mod reload;
mod renew;
mod run;
#[cfg(feature = "sandbox")]
mod sandbox;
mod schema;
mod show;
mod skip;
mod status;
mod value;
mod why;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use exit::Exit;

/// Starts and stops NAVER Cloud servers on schedule, watches until they really run, and records every outcome.
#[derive(Parser)]
#[command(name = "sunup", version, about, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done; 1 unexpected; 2 usage; 3 a run ended other than done; 69 the cloud or the \
store cannot be reached; 75 another daemon holds the journal; 78 the configuration is wrong."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args, Clone)]
struct Common {
    /// The configuration file [default: $SUNUP_CONFIG, or /etc/sunup/sunup.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Results as JSON Lines
    #[arg(long, global = true)]
    json: bool,
    /// Only results and errors: no words about them, no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    /// The daemon's control socket [default: $SUNUP_SOCKET, or /run/sunup/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon
    Run(run::Options),
    #[cfg(feature = "sandbox")]
    /// Watch the daemon at work against the sandbox; needs nothing
    Demo(demo::Options),
    #[cfg(feature = "sandbox")]
    /// Serve an imitation of the NCP API to rehearse with
    Sandbox(sandbox::Options),
    /// Write a first configuration, from the servers that the account has
    Init(init::Options),
    /// Read the configuration and report every problem; touches nothing
    Check(check::Options),
    /// Show the coming occurrences
    Plan(plan::Options),
    /// Show which rules and calendars decide about a server, and what became of it
    Why(why::Options),
    /// Start groups or servers now, and watch until they run
    Start(person::Options),
    /// Stop groups or servers now, and watch until they are down
    Stop(person::Options),
    /// Leave a rule, or the servers of a group, alone until a moment
    Pause(pause::Pause),
    /// Leave one occurrence of a rule undone, or one span of its hours
    Skip(skip::Options),
    /// Keep the servers of a group as they are, on or off, until a moment
    Keep(keep::Options),
    /// End a pause, a skip or a keep before its time
    Resume(pause::Resume),
    /// Show which servers each group has now, with their states
    Groups(groups::Options),
    /// Show what runs now, what comes next, and what failed last
    Status,
    /// Show past runs, or one run whole
    History(history::Options),
    /// Have the daemon read its configuration again, and show what that changes
    Reload,
    /// Try a way of telling people
    Notify(notify::Options),
    /// Look for what is wrong on this machine, and say how to mend it; changes nothing
    Doctor,
    /// Write a whole copy of the journal, beside a running daemon
    Backup(backup::Backup),
    /// Put such a copy in the journal's place; the daemon must not run
    Restore(backup::Restore),
    /// Judge a journal, and a log of the cloud, by what sunup promises
    Audit(audit::Options),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print a script with which a shell completes commands and options
    Completions(manual::Completions),
    /// Print the manual page
    Man(manual::Pages),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.common.quiet {
        show::be_quiet();
    }
    let done = match cli.command {
        Command::Run(options) => run::main(&cli.common, &options),
        #[cfg(feature = "sandbox")]
        Command::Demo(options) => demo::main(&options),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(options) => sandbox::main(&options),
        Command::Init(options) => init::main(&cli.common, &options),
        Command::Check(options) => check::main(&cli.common, &options),
        Command::Reload => reload::main(&cli.common),
        Command::Plan(options) => plan::main(&cli.common, &options),
        Command::Why(options) => why::main(&cli.common, &options),
        Command::Start(options) => person::main(&cli.common, crate::domain::name::Action::Start, &options),
        Command::Stop(options) => person::main(&cli.common, crate::domain::name::Action::Stop, &options),
        Command::Pause(options) => pause::pause(&cli.common, &options),
        Command::Skip(options) => skip::main(&cli.common, &options),
        Command::Keep(options) => keep::main(&cli.common, &options),
        Command::Resume(options) => pause::resume(&cli.common, &options),
        Command::Groups(options) => groups::main(&cli.common, &options),
        Command::Status => status::main(&cli.common),
        Command::History(options) => history::main(&cli.common, &options),
        Command::Notify(options) => notify::main(&cli.common, &options),
        Command::Doctor => doctor::main(&cli.common),
        Command::Backup(options) => backup::backup(&cli.common, &options),
        Command::Restore(options) => backup::restore(&cli.common, &options),
        Command::Audit(options) => audit::main(&cli.common, &options),
        Command::Schema => Ok(schema::main()),
        Command::Completions(options) => manual::completions(Cli::command(), &options),
        Command::Man(options) => manual::man(Cli::command(), &options),
    };
    match done {
        Ok(exit) => exit.code(),
        Err(error) => {
            show::problem(&error);
            Exit::of(&error).code()
        }
    }
}
