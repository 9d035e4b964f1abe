//! How punctual and how light the program is, beside what people would use instead: `scripts/bench`.
//!
//! `cargo bench --bench suite -- [SECTION ...] [--runs N] [--json FILE] [--plots FOLDER]`; all sections if none is named.

mod figures;
mod growth;
mod idle;
mod lateness;
mod nine;
mod place;
mod small;

use std::path::PathBuf;

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

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == lateness::CHILD
    {
        return lateness::child(rest);
    }
    let option = |name: &str| {
        let at = arguments.iter().position(|word| word == name)?;
        arguments.get(at + 1).cloned()
    };
    let runs = option("--runs").and_then(|text| text.parse().ok()).unwrap_or(5);
    let named = |name: &str| arguments.iter().any(|word| word == name);
    let all = !SECTIONS.iter().any(|(name, _)| named(name));
    let mut figures = Figures::default();
    for (name, measure) in SECTIONS {
        if all || named(name) {
            println!("\n{name}");
            measure(&mut figures, runs)?;
        }
    }
    if let Some(path) = option("--json") {
        std::fs::write(path, format!("{:#}\n", figures.json()))?;
    }
    if let Some(folder) = option("--plots") {
        figures.draw(&PathBuf::from(folder))?;
    }
    Ok(())
}
