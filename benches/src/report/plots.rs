//! One SVG for each workload: what each peer needs, as bars, shortest first, with the range of the rounds
//! as a line through its end. Bars begin at zero, always.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::columns::Unit;
use super::{Measured, readings};
use crate::stats::median;

const WIDTH: u32 = 960;
const TITLE: i32 = 74;
const BAR: i32 = 34;
const GAP: i32 = 12;
const NAMES: i32 = 170;
const NUMBERS: i32 = 110;

const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const FLOOR: RGBColor = RGBColor(0x4d, 0x4d, 0x4d);
const OTHERS: RGBColor = RGBColor(0xb4, 0xbd, 0xc7);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const PALE: RGBColor = RGBColor(0x66, 0x66, 0x66);

/// One bar.
struct Bar {
    peer: &'static str,
    value: f64,
    low: f64,
    high: f64,
}

/// Makes `folder`, or says why nothing can be drawn there.
pub(crate) fn prepare(folder: &Path) -> io::Result<()> {
    let trial = folder.join("ringwork-bench.part");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&trial, ""))
        .and_then(|()| fs::remove_file(&trial))
        .map_err(|error| {
            io::Error::other(format!("{}: no plots can be put there: {error}", folder.display()))
        })
}

/// Draws every workload that has two peers or more into `folder`, which is there. How many they were.
pub(crate) fn draw(folder: &Path, measured: &[Measured], below: &str) -> Result<usize, Box<dyn Error>> {
    let mut drawn = 0;
    for workload in measured {
        let Some((metric, unit, bars)) = bars(workload) else { continue };
        let path = folder.join(format!("{}.svg", workload.name));
        let captions = Captions { title: &workload.title, metric, unit, below };
        draw_one(&path, &captions, &bars)?;
        drawn += 1;
    }
    Ok(drawn)
}

/// What a plot says besides its bars.
struct Captions<'a> {
    title: &'a str,
    metric: &'a str,
    unit: Unit,
    below: &'a str,
}

/// The bars of the first ratio of a workload.
fn bars(workload: &Measured) -> Option<(&'static str, Unit, Vec<Bar>)> {
    let (metric, reading, unit) = workload.layout.ratios.first()?;
    let bar = |outcome: &crate::bench::Outcome| {
        let values = readings(outcome, *reading);
        let low = values.iter().copied().min_by(f64::total_cmp)?;
        let high = values.iter().copied().max_by(f64::total_cmp)?;
        let value = median(values);
        value.is_finite().then_some(Bar { peer: outcome.peer, value, low, high })
    };
    let mut bars: Vec<Bar> = workload.good().filter_map(bar).collect();
    bars.sort_by(|a, b| a.value.total_cmp(&b.value));
    (bars.len() > 1).then_some((*metric, *unit, bars))
}

fn draw_one(path: &Path, captions: &Captions<'_>, bars: &[Bar]) -> Result<(), Box<dyn Error>> {
    let height = TITLE + bars.len() as i32 * (BAR + GAP) + 40;
    let root = SVGBackend::new(path, (WIDTH, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let style = |size: i32, colour: RGBColor| ("sans-serif", size).into_font().color(&colour);
    root.draw(&Text::new(captions.title.to_owned(), (20, 16), style(22, INK)))?;
    root.draw(&Text::new(
        format!("{}, less is better; ×: of the best", captions.metric),
        (20, 46),
        style(15, PALE),
    ))?;
    let longest = bars.iter().map(|bar| bar.high).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(WIDTH as i32 - NAMES - NUMBERS - 20);
    let place = |value: f64| NAMES + (value / longest * room) as i32;
    let least = bars[0].value;
    for (bar, at) in bars.iter().zip(0..) {
        let (top, colour) = (TITLE + at * (BAR + GAP), colour(bar.peer));
        let middle = top + BAR / 2;
        let left = Pos::new(HPos::Right, VPos::Center);
        root.draw(&Text::new(bar.peer, (NAMES - 12, middle), style(17, INK).pos(left)))?;
        root.draw(&Rectangle::new([(NAMES, top), (place(bar.value), top + BAR)], colour.filled()))?;
        let range = [(place(bar.low), middle), (place(bar.high), middle)];
        root.draw(&PathElement::new(range, INK.stroke_width(2)))?;
        let number = format!("{}  ×{:.2}", with_unit(bar.value, captions.unit), bar.value / least);
        let right = Pos::new(HPos::Left, VPos::Center);
        root.draw(&Text::new(
            number,
            (place(bar.value.max(bar.high)) + 10, middle),
            style(15, INK).pos(right),
        ))?;
    }
    root.draw(&Text::new(captions.below.to_owned(), (20, height - 26), style(12, PALE)))?;
    root.present()?;
    Ok(())
}

fn colour(peer: &str) -> RGBColor {
    match peer {
        "floor" => FLOOR,
        peer if peer.starts_with("ringwork") => OURS,
        _ => OTHERS,
    }
}

/// A value as one says it.
fn with_unit(value: f64, unit: Unit) -> String {
    let (value, names): (f64, [&str; 4]) = match unit {
        Unit::Nanos => (value, ["ns", "µs", "ms", "s"]),
        Unit::Micros => (value * 1e3, ["ns", "µs", "ms", "s"]),
        Unit::Bytes => (value, ["B", "kB", "MB", "GB"]),
        Unit::Times => return format!("{value:.3}"),
    };
    let (scaled, name) = match value {
        ..1e3 => (value, names[0]),
        ..1e6 => (value / 1e3, names[1]),
        ..1e9 => (value / 1e6, names[2]),
        _ => (value / 1e9, names[3]),
    };
    let decimals = if scaled < 10.0 {
        2
    } else if scaled < 100.0 {
        1
    } else {
        0
    };
    format!("{scaled:.decimals$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_said_in_the_unit_that_suits_them() {
        assert_eq!(with_unit(4310.0, Unit::Nanos), "4.31 µs");
        assert_eq!(with_unit(431.0, Unit::Micros), "431 µs");
        assert_eq!(with_unit(12_000.0, Unit::Bytes), "12.0 kB");
        assert_eq!(with_unit(0.0275, Unit::Times), "0.028");
    }
}
