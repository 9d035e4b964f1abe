//! How punctual and how light the program is, beside what people would use instead: `scripts/bench`.
//!
//! `cargo bench --bench suite -- --help` tells how.

mod figures;
mod growth;
mod idle;
mod lateness;
mod nine;
mod place;
mod small;

use std::path::PathBuf;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use figures::Figures;
use place::Failure;

/// A section: its name, and what measures it so many times.
type Section = (&'static str, fn(&mut Figures, usize) -> Result<(), Failure>);

const SECTIONS: [Section; 5] = [
    ("lateness", lateness::measure),
    ("nine", nine::measure),
    ("idle", idle::measure),
    ("growth", growth::measure),
    ("small", small::measure),
];

/// Measures how punctual and how light the program is, beside what people would use instead.
#[derive(Parser)]
struct Wanted {
    /// What to measure; everything if nothing is named.
    #[arg(value_name = "SECTION", value_parser = PossibleValuesParser::new(SECTIONS.map(|(name, _)| name)))]
    sections: Vec<String>,
    /// How often each thing is measured.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// The program to measure; the one that Cargo built beside this if none is named.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where the figures go as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the curves go as SVG.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// What Cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == lateness::CHILD
    {
        return lateness::child(rest);
    }
    let Wanted { sections, runs, program, json, plots, .. } = Wanted::parse();
    if let Some(program) = program {
        place::measure(program);
    }
    let mut figures = Figures::default();
    for (name, measure) in SECTIONS {
        if sections.is_empty() || sections.iter().any(|section| section == name) {
            println!("\n{name}");
            measure(&mut figures, runs)?;
        }
    }
    if let Some(path) = json {
        std::fs::write(path, format!("{:#}\n", figures.json()))?;
    }
    if let Some(folder) = plots {
        figures.draw(&folder)?;
    }
    Ok(())
}
