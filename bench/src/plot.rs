//! Pictures of results, as SVG: latencies by percentile, and ratios as bars.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::measurement::KindLatency;

const SIZE: (u32, u32) = (900, 480);
const FONT: &str = "sans-serif";

/// Latency over percentile, one line for each kind; the latency axis is logarithmic.
///
/// # Errors
///
/// If there is no latency, or it cannot be drawn.
pub fn latency_svg(title: &str, kinds: &[KindLatency]) -> Result<String> {
    let lines: Vec<Line<'_>> = kinds
        .iter()
        .map(|kind| Line {
            name: &kind.kind,
            curve: &kind.latency.curve,
        })
        .collect();
    draw_lines(title, &lines)
}

/// One line of a latency picture.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Percentile and latency in microseconds.
    pub curve: &'a [(f64, f64)],
}

/// Latency over percentile for any lines.
///
/// # Errors
///
/// As [`latency_svg`].
pub fn draw_lines(title: &str, lines: &[Line<'_>]) -> Result<String> {
    let latencies = || {
        lines
            .iter()
            .flat_map(|line| line.curve)
            .map(|(_, latency)| *latency)
    };
    let highest = latencies().fold(0.0, f64::max).max(10.0);
    let lowest = latencies()
        .fold(highest, f64::min)
        .clamp(1.0, highest / 2.0);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, (FONT, 22))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..100.0, (lowest..highest * 1.1).log_scale())
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .x_desc("percentile")
            .y_desc("latency, µs")
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(drawing)?;
        for (index, line) in lines.iter().enumerate() {
            let color = Palette99::pick(index).to_rgba();
            chart
                .draw_series(LineSeries::new(
                    line.curve.iter().copied(),
                    color.stroke_width(2),
                ))
                .map_err(drawing)?
                .label(line.name)
                .legend(move |(x, y)| {
                    Rectangle::new([(x, y - 4), (x + 14, y + 4)], color.filled())
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(drawing)?;
        root.present().map_err(drawing)?;
    }
    Ok(svg)
}

/// One bar: how many times better something is.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is.
    pub name: String,
    /// The factor; 1 is as good.
    pub times: f64,
}

/// Horizontal bars on a logarithmic axis that all begin at 1.
///
/// # Errors
///
/// If it cannot be drawn.
pub fn bars_svg(title: &str, bars: &[Bar]) -> Result<String> {
    let furthest = bars
        .iter()
        .map(|bar| bar.times.max(1.0 / bar.times))
        .fold(2.0, f64::max);
    let low = bars.iter().map(|bar| bar.times).fold(0.8, f64::min) * 0.8;
    let rows = i32::try_from(bars.len()).unwrap_or(i32::MAX);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, (FONT, 22))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(10)
            .build_cartesian_2d((low..furthest * 3.0).log_scale(), 0..rows.max(1) * 2)
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .x_desc("times better (1 is as good)")
            .draw()
            .map_err(drawing)?;
        for (row, bar) in (0..rows).rev().zip(bars) {
            let color = if bar.times >= 1.0 {
                GREEN.mix(0.5)
            } else {
                RED.mix(0.5)
            };
            let corners = [(1.0, row * 2), (bar.times, row * 2 + 1)];
            let label = format!("{}: {:.2} ×", bar.name, bar.times);
            chart
                .draw_series([Rectangle::new(corners, color.filled())])
                .map_err(drawing)?;
            chart
                .draw_series([Text::new(
                    label,
                    (1.02, row * 2 + 1),
                    (FONT, 15).into_font(),
                )])
                .map_err(drawing)?;
        }
        root.present().map_err(drawing)?;
    }
    Ok(svg)
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_named_in_the_picture() {
        let curve = [(0.0, 100.0), (50.0, 150.0), (100.0, 9000.0)];
        let lines = ["cairn", "etcd"].map(|name| Line {
            name,
            curve: &curve,
        });
        let svg = draw_lines("put-1", &lines).unwrap();
        assert!(svg.starts_with("<svg"));
        for name in ["put-1", "cairn", "etcd", "percentile"] {
            assert!(svg.contains(name), "{name} is missing");
        }
    }

    #[test]
    fn latencies_of_zero_and_no_lines_can_be_drawn() {
        assert!(draw_lines("empty", &[]).is_ok());
        assert!(
            draw_lines(
                "zero",
                &[Line {
                    name: "a",
                    curve: &[(0.0, 0.0), (100.0, 0.0)]
                }]
            )
            .is_ok()
        );
    }
}
