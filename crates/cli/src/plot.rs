//! Plots as inline SVG: bars with intervals, lines, stacked shares, scatter. Colours come from the page's style sheet
//! (`c0` … `c9` for series), so that they follow light and dark. Marks carry their figures as titles.

use maud::{Markup, html};

/// Colours that the style sheet has.
pub(crate) const COLOURS: usize = 10;
const WIDTH: f64 = 520.0;
const LABEL: f64 = 120.0;

/// A figure with its interval.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) mean: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

/// A named line or point.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

fn class(at: usize) -> String {
    format!("c{}", at % COLOURS)
}

/// Series past the last colour are dashed.
fn dash(at: usize) -> Option<&'static str> {
    (at >= COLOURS).then_some("5 3")
}

/// Three to six round numbers within 0 … `high` or `low` … `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return vec![low];
    }
    let raw = span / 4.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= raw)
        .unwrap_or(raw);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// With as many digits as tell neighbouring ticks apart.
fn short(value: f64, span: f64) -> String {
    let digits = (1.2 - span.abs().max(1e-9).log10()).ceil().clamp(0.0, 4.0) as usize;
    format!("{value:.digits$}")
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// Horizontal bars from zero, each with its interval as a whisker.
pub(crate) fn bars(rows: &[Bar<'_>]) -> Markup {
    let top = rows
        .iter()
        .map(|row| row.interval.map_or(row.mean, |(_, high)| high.max(row.mean)));
    let high = top.fold(1e-12, f64::max);
    let right = WIDTH - 62.0;
    let x = |value: f64| LABEL + (value.max(0.0) / high) * (right - LABEL);
    let height = rows.len() as f64 * 24.0 + 26.0;
    let floor = height - 22.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            @for tick in ticks(0.0, high) {
                line class="grid" x1=(number(x(tick))) x2=(number(x(tick))) y1="2" y2=(number(floor)) {}
                text class="tick" x=(number(x(tick))) y=(number(floor + 15.0)) text-anchor="middle" { (short(tick, high)) }
            }
            @for (at, row) in rows.iter().enumerate() {
                @let y = at as f64 * 24.0 + 4.0;
                g {
                    title { (row.name) ": " (format!("{:.4}", row.mean)) @if let Some((low, high)) = row.interval { (format!(" ({low:.4} to {high:.4})")) } }
                    text class="name" x=(number(LABEL - 8.0)) y=(number(y + 13.0)) text-anchor="end" { (row.name) }
                    rect class=(class(at)) x=(number(LABEL)) y=(number(y)) width=(number(x(row.mean) - LABEL)) height="17" rx="2" {}
                    @if let Some((low, high)) = row.interval {
                        line class="whisker" x1=(number(x(low))) x2=(number(x(high))) y1=(number(y + 8.5)) y2=(number(y + 8.5)) {}
                        line class="whisker" x1=(number(x(low))) x2=(number(x(low))) y1=(number(y + 5.0)) y2=(number(y + 12.0)) {}
                        line class="whisker" x1=(number(x(high))) x2=(number(x(high))) y1=(number(y + 5.0)) y2=(number(y + 12.0)) {}
                    }
                    text class="value" x=(number(WIDTH - 4.0)) y=(number(y + 13.0)) text-anchor="end" { (format!("{:.4}", row.mean)) }
                }
            }
        }
    }
}

/// Shares that sum to one, side by side, with the parts' names above.
pub(crate) fn shares(parts: &[&str], rows: &[(&str, Vec<f64>)]) -> Markup {
    let right = WIDTH - 4.0;
    let height = rows.len() as f64 * 24.0 + 26.0;
    let width = |share: f64| share.clamp(0.0, 1.0) * (right - LABEL);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            @for (at, part) in parts.iter().enumerate() {
                @let x = LABEL + at as f64 * 90.0;
                rect class=(format!("part{at}")) x=(number(x)) y="4" width="12" height="12" rx="2" {}
                text class="name" x=(number(x + 17.0)) y="14" { (part) }
            }
            @for (at, (name, shares)) in rows.iter().enumerate() {
                @let y = at as f64 * 24.0 + 26.0;
                text class="name" x=(number(LABEL - 8.0)) y=(number(y + 12.0)) text-anchor="end" { (name) }
                @for (part, share) in shares.iter().enumerate() {
                    @let before: f64 = shares[..part].iter().sum();
                    g {
                        title { (name) ": " (parts.get(part).copied().unwrap_or_default()) " " (format!("{:.1} %", share * 100.0)) }
                        rect class=(format!("part{part}")) x=(number(LABEL + width(before))) y=(number(y)) width=(number(width(*share))) height="17" {}
                        @if *share > 0.09 {
                            text class="inside" x=(number(LABEL + width(before + share / 2.0))) y=(number(y + 12.5)) text-anchor="middle" { (format!("{:.0} %", share * 100.0)) }
                        }
                    }
                }
            }
        }
    }
}

/// The frame of a plot with two axes.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    log: bool,
    right: f64,
}

const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = HEIGHT - 40.0;

impl Frame {
    fn around(series: &[Series<'_>], log: bool, from_zero: bool, right: f64) -> Frame {
        let points = || series.iter().flat_map(|series| series.points.iter());
        let range = |values: &mut dyn Iterator<Item = f64>| {
            let (low, high) = values
                .filter(|value| value.is_finite())
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                    (low.min(v), high.max(v))
                });
            if low > high { (0.0, 1.0) } else { (low, high) }
        };
        let pad = |(low, high): (f64, f64)| {
            let margin = ((high - low) * 0.08).max(high.abs() * 0.01).max(1e-6);
            (low - margin, high + margin)
        };
        let x = range(&mut points().map(|point| point.0));
        let y = range(&mut points().map(|point| point.1));
        Frame {
            x: if log { (x.0, x.1.max(x.0 * 1.01)) } else { pad(x) },
            y: if from_zero {
                (0.0, (y.1 * 1.05).max(1e-9))
            } else {
                pad(y)
            },
            log,
            right,
        }
    }

    fn px(&self, x: f64) -> f64 {
        let at = |x: f64| if self.log { (1.0 + x).ln() } else { x };
        LEFT + (at(x) - at(self.x.0)) / (at(self.x.1) - at(self.x.0)) * (self.right - LEFT)
    }

    fn py(&self, y: f64) -> f64 {
        BOTTOM - (y - self.y.0) / (self.y.1 - self.y.0) * (BOTTOM - 10.0)
    }

    fn axes(&self, x_ticks: &[f64], x_label: &str, y_label: &str) -> Markup {
        let span = self.y.1 - self.y.0;
        html! {
            @for tick in ticks(self.y.0, self.y.1) {
                line class="grid" x1=(number(LEFT)) x2=(number(self.right)) y1=(number(self.py(tick))) y2=(number(self.py(tick))) {}
                text class="tick" x=(number(LEFT - 6.0)) y=(number(self.py(tick) + 4.0)) text-anchor="end" { (short(tick, span)) }
            }
            @for tick in x_ticks {
                line class="grid" x1=(number(self.px(*tick))) x2=(number(self.px(*tick))) y1="10" y2=(number(BOTTOM)) {}
                text class="tick" x=(number(self.px(*tick))) y=(number(BOTTOM + 15.0)) text-anchor="middle" {
                    (if self.log { format!("{tick}") } else { short(*tick, self.x.1 - self.x.0) })
                }
            }
            text class="axis" x=(number(f64::midpoint(LEFT, self.right))) y=(number(HEIGHT - 6.0)) text-anchor="middle" { (x_label) }
            text class="axis" x="12" y=(number(BOTTOM / 2.0)) text-anchor="middle" transform=(format!("rotate(-90 12 {:.1})", BOTTOM / 2.0)) { (y_label) }
        }
    }
}

/// Lines over a logarithmic axis, each named at its end.
pub(crate) fn lines(series: &[Series<'_>], x_label: &str, y_label: &str) -> Markup {
    polylines(series, true, x_label, y_label)
}

/// Lines over an even axis, each named at its end.
pub(crate) fn curves(series: &[Series<'_>], x_label: &str, y_label: &str) -> Markup {
    polylines(series, false, x_label, y_label)
}

fn polylines(series: &[Series<'_>], log: bool, x_label: &str, y_label: &str) -> Markup {
    let frame = Frame::around(series, log, true, WIDTH - 110.0);
    let mut places: Vec<f64> = series
        .iter()
        .flat_map(|s| s.points.iter().map(|point| point.0))
        .collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    // Labels that would run into each other are left out.
    let mut shown: Vec<f64> = Vec::new();
    for place in places.into_iter().rev() {
        if shown
            .last()
            .is_none_or(|last| frame.px(*last) - frame.px(place) > 22.0)
        {
            shown.push(place);
        }
    }
    let ends: Vec<f64> = series
        .iter()
        .map(|s| s.points.last().map_or(BOTTOM, |(_, y)| frame.py(*y)))
        .collect();
    let labels = apart(&ends, 13.0, 14.0, BOTTOM);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
            (frame.axes(&shown, x_label, y_label))
            @for (at, series) in series.iter().enumerate() {
                @let path: String = series.points.iter().map(|(x, y)| format!("{:.1},{:.1} ", frame.px(*x), frame.py(*y))).collect();
                polyline class=(format!("line {}", class(at))) points=(path.trim_end()) stroke-dasharray=[dash(at)] {}
                @for (x, y) in &series.points {
                    circle class=(class(at)) cx=(number(frame.px(*x))) cy=(number(frame.py(*y))) r="2.5" {
                        title { (series.name) " at " (x) ": " (format!("{y:.4}")) }
                    }
                }
                line class="leader" x1=(number(frame.right + 2.0)) x2=(number(frame.right + 9.0)) y1=(number(ends[at])) y2=(number(labels[at])) {}
                text class=(format!("end {}", class(at))) x=(number(frame.right + 11.0)) y=(number(labels[at] + 4.0)) { (series.name) }
            }
        }
    }
}

/// Plots one below the other as a file of its own, with colours for paper.
pub(crate) fn file(plots: &[Markup]) -> String {
    const STYLE: &str = "text { font: 11px sans-serif; fill: #555; } .grid { stroke: #ddd; } .leader { stroke: #999; } \
        .c0 { fill: #2563a8; } .line { fill: none; stroke: #2563a8; stroke-width: 2; }";
    let height = HEIGHT * plots.len() as f64;
    // A plot within a plot takes all of the room and stands in its middle.
    let shift = |at: usize| HEIGHT * at as f64 - (height - HEIGHT) / 2.0;
    let drawn = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height) {
            style { (STYLE) }
            @for (at, plot) in plots.iter().enumerate() {
                g transform=(format!("translate(0 {})", shift(at))) { (plot) }
            }
        }
    };
    drawn.into_string()
}

/// Points with names.
pub(crate) fn scatter(series: &[Series<'_>], x_label: &str, y_label: &str) -> Markup {
    let frame = Frame::around(series, false, false, WIDTH - 90.0);
    let points: Vec<(usize, &str, f64, f64)> = series
        .iter()
        .enumerate()
        .flat_map(|(at, s)| s.points.iter().map(move |(x, y)| (at, s.name, *x, *y)))
        .filter(|(_, _, x, y)| x.is_finite() && y.is_finite())
        .collect();
    let heights: Vec<f64> = points.iter().map(|(_, _, _, y)| frame.py(*y)).collect();
    let labels = apart(&heights, 12.0, 12.0, BOTTOM);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
            (frame.axes(&ticks(frame.x.0, frame.x.1), x_label, y_label))
            @for ((at, name, x, y), label) in points.iter().zip(&labels) {
                g {
                    title { (name) ": " (x_label) " " (format!("{x:.4}")) ", " (y_label) " " (format!("{y:.4}")) }
                    line class="leader" x1=(number(frame.px(*x))) x2=(number(frame.px(*x) + 9.0)) y1=(number(frame.py(*y))) y2=(number(*label)) {}
                    circle class=(class(*at)) cx=(number(frame.px(*x))) cy=(number(frame.py(*y))) r="5" {}
                    text class=(format!("end {}", class(*at))) x=(number(frame.px(*x) + 11.0)) y=(number(label + 4.0)) { (name) }
                }
            }
        }
    }
}

/// Moves labels that would overlap apart, keeping their order, within `low` … `high`.
fn apart(wanted: &[f64], least: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut placed = wanted.to_vec();
    let mut before = low - least;
    for at in &order {
        placed[*at] = placed[*at].max(before + least);
        before = placed[*at];
    }
    let mut after = high + least;
    for at in order.iter().rev() {
        placed[*at] = placed[*at].min(after - least);
        after = placed[*at];
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_labels_do_not_overlap() {
        assert_eq!(ticks(0.0, 0.2), [0.0, 0.05, 0.1, 0.15000000000000002, 0.2]);
        assert_eq!(ticks(3.0, 3.0), [3.0]);
        assert_eq!(short(0.15000000000000002, 0.2), "0.15");
        let placed = apart(&[50.0, 51.0, 10.0, 52.0], 12.0, 0.0, 60.0);
        assert_eq!(placed, [36.0, 48.0, 10.0, 60.0]);
    }

    #[test]
    fn names_are_escaped_and_nothing_is_no_plot_of_infinities() {
        let bar = Bar {
            name: "<b>",
            mean: 0.5,
            interval: Some((0.4, 0.6)),
        };
        let text = bars(&[bar]).into_string();
        assert!(text.contains("&lt;b&gt;") && !text.contains("<b>"));
        for text in [
            lines(&[], "k", "recall").into_string(),
            scatter(
                &[Series {
                    name: "a",
                    points: vec![(f64::NAN, 1.0)],
                }],
                "x",
                "y",
            )
            .into_string(),
            bars(&[]).into_string(),
        ] {
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }
}
