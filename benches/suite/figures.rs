//! What was measured: a line for people, an object for programs, and curves as pictures.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::prelude::*;
use serde_json::{Value, json};

/// What a figure is to be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// It is only told.
    None,
}

struct Figure {
    what: String,
    unit: &'static str,
    values: Vec<f64>,
    goal: Goal,
}

/// A curve of a picture: its name, and its points.
type Curve = (String, Vec<(f64, f64)>);

/// A picture: the words along its axes, and its curves.
type Picture = ((&'static str, &'static str), Vec<Curve>);

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Figures {
    figures: Vec<Figure>,
    pictures: BTreeMap<&'static str, Picture>,
}

/// The value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    share(values, 50)
}

/// The value below which so many in a hundred lie.
pub(crate) fn share(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

impl Figures {
    /// Notes a figure, measured once or several times, and tells it.
    pub(crate) fn note(&mut self, what: impl Into<String>, unit: &'static str, values: &[f64], goal: Goal) {
        let figure = Figure { what: what.into(), unit, values: values.to_vec(), goal };
        println!("{}", figure.line());
        self.figures.push(figure);
    }

    /// Adds a point to a curve of a picture.
    pub(crate) fn point(
        &mut self,
        picture: &'static str,
        axes: (&'static str, &'static str),
        curve: &str,
        at: (f64, f64),
    ) {
        let (_, curves) = self.pictures.entry(picture).or_insert_with(|| (axes, Vec::new()));
        match curves.iter_mut().find(|(name, _)| name == curve) {
            Some((_, points)) => points.push(at),
            None => curves.push((curve.to_owned(), vec![at])),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let figures = self.figures.iter().map(Figure::json).collect::<Vec<_>>();
        json!({ "figures": figures })
    }

    /// Draws each picture as an SVG file, with both axes by powers of ten.
    pub(crate) fn draw(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        std::fs::create_dir_all(folder)?;
        for (name, (axes, curves)) in &self.pictures {
            let path = folder.join(format!("{name}.svg"));
            let area = SVGBackend::new(&path, (720, 420)).into_drawing_area();
            area.fill(&WHITE)?;
            let points = || curves.iter().flat_map(|(_, points)| points.iter());
            let span = |of: fn(&(f64, f64)) -> f64| {
                let least = points().map(of).fold(f64::INFINITY, f64::min);
                let most = points().map(of).fold(0.0, f64::max);
                ((least / 2.0).max(1e-3)..most * 2.0).log_scale()
            };
            let mut chart = ChartBuilder::on(&area)
                .margin(12)
                .x_label_area_size(42)
                .y_label_area_size(64)
                .build_cartesian_2d(span(|at| at.0), span(|at| at.1))?;
            chart.configure_mesh().x_desc(axes.0).y_desc(axes.1).draw()?;
            for (index, (name, points)) in curves.iter().enumerate() {
                let color = Palette99::pick(index).to_rgba();
                let line = LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3);
                chart
                    .draw_series(line)?
                    .label(name.as_str())
                    .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2)));
            }
            chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
            area.present()?;
        }
        Ok(())
    }
}

impl Figure {
    fn is_met(&self) -> Option<bool> {
        match self.goal {
            Goal::AtMost(most) => Some(median(&self.values) <= most),
            Goal::AtLeast(least) => Some(median(&self.values) >= least),
            Goal::None => None,
        }
    }

    fn line(&self) -> String {
        let goal = match self.goal {
            Goal::AtMost(most) => format!("  (at most {most})"),
            Goal::AtLeast(least) => format!("  (at least {least})"),
            Goal::None => String::new(),
        };
        let verdict = match self.is_met() {
            Some(true) => "good",
            Some(false) => "MISSED",
            None => "",
        };
        format!("{:<66} {:>12.3} {:<10} {verdict}{goal}", self.what, median(&self.values), self.unit)
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what,
            "unit": self.unit,
            "median": median(&self.values),
            "values": self.values,
            "goal": match self.goal {
                Goal::AtMost(most) => json!({ "at_most": most }),
                Goal::AtLeast(least) => json!({ "at_least": least }),
                Goal::None => Value::Null,
            },
            "met": self.is_met(),
        })
    }
}
