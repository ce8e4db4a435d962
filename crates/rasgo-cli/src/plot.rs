//! Curves over epochs as SVG.

/// One line of a plot.
pub(crate) struct Curve<'a> {
    name: &'a str,
    colour: &'a str,
    values: &'a [f64],
}

impl<'a> Curve<'a> {
    pub(crate) fn new(name: &'a str, colour: &'a str, values: &'a [f64]) -> Curve<'a> {
        Curve { name, colour, values }
    }
}

const LEFT: f64 = 48.0;
const RIGHT: f64 = 354.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 190.0;

/// From one label to the next below it.
const LABEL: f64 = 15.0;

/// Heights of labels that would like to stand at `wanted`, at least a label apart and within the plot where that is
/// possible, in the order of the heights.
fn apart(wanted: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut heights = wanted.to_vec();
    for pair in order.windows(2) {
        heights[pair[1]] = heights[pair[1]].max(heights[pair[0]] + LABEL);
    }
    // What was pushed out below goes back up, and pushes in turn.
    let mut lowest = BOTTOM;
    for &label in order.iter().rev() {
        heights[label] = heights[label].min(lowest);
        lowest = heights[label] - LABEL;
    }
    heights
}

/// A step of 1, 2 or 5 times a power of ten that parts `span` in at most five.
fn tick_step(span: f64) -> f64 {
    let power = 10f64.powf((span / 5.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| span / step <= 5.0)
        .unwrap_or(span)
}

/// A plot of curves whose first point is epoch 1; empty where there is nothing to show.
pub(crate) fn plot(title: &str, curves: &[Curve<'_>]) -> String {
    let finite = || curves.iter().flat_map(|curve| curve.values).copied().filter(|value| value.is_finite());
    let epochs = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0);
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if epochs == 0 || low > high {
        return String::new();
    }
    let step = tick_step((high - low).max(1e-3 * high.abs()).max(1e-6));
    // No further than the values reach: an accuracy has no tick above 100 %.
    let (first, last) = ((low / step).floor(), (high / step).ceil());
    let (low, high) = match first < last {
        true => (first * step, last * step),
        // All values are one tick: it is the upper end, but for 0.
        false if first > 0.0 => ((first - 1.0) * step, last * step),
        false => (first * step, (last + 1.0) * step),
    };
    let x = |i: usize| match epochs {
        1 => (LEFT + RIGHT) / 2.0,
        _ => LEFT + (RIGHT - LEFT) * i as f64 / (epochs - 1) as f64,
    };
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low);
    let mut body = String::new();
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    for tick in 0..=((high - low) / step).round() as usize {
        let value = low + tick as f64 * step;
        let height = y(value);
        body +=
            &format!("<line x1='{LEFT}' x2='{RIGHT}' y1='{height:.1}' y2='{height:.1}' stroke='#e4e4e4'/>");
        body += &format!(
            "<text x='{}' y='{:.1}' text-anchor='end' fill='#777'>{value:.decimals$}</text>",
            LEFT - 8.0,
            height + 4.0
        );
    }
    for i in (0..epochs).step_by(epochs.div_ceil(10)) {
        body += &format!(
            "<text x='{:.1}' y='{}' text-anchor='middle' fill='#777'>{}</text>",
            x(i),
            BOTTOM + 18.0,
            i + 1
        );
    }
    let last = |curve: &Curve<'_>| curve.values.iter().rev().copied().find(|value| value.is_finite());
    let shown: Vec<(&Curve<'_>, f64)> =
        curves.iter().filter_map(|curve| Some((curve, y(last(curve)?)))).collect();
    let labels = apart(&shown.iter().map(|(_, height)| *height).collect::<Vec<_>>());
    for ((Curve { name, colour, values }, _), label) in shown.into_iter().zip(labels) {
        let points = || values.iter().enumerate().filter(|(_, value)| value.is_finite());
        let line: Vec<String> = points().map(|(i, &value)| format!("{:.1},{:.1}", x(i), y(value))).collect();
        body += &format!(
            "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='2'/>",
            line.join(" ")
        );
        for (i, &value) in points() {
            body += &format!("<circle cx='{:.1}' cy='{:.1}' r='2.5' fill='{colour}'/>", x(i), y(value));
        }
        body += &format!(
            "<text x='{:.1}' y='{:.1}' fill='{colour}'>{name}</text>",
            x(epochs - 1) + 8.0,
            label + 4.0
        );
    }
    format!("<div><h2>{title}</h2><svg viewBox='0 0 420 220' width='420' font-size='12'>{body}</svg></div>")
}

#[cfg(test)]
mod tests {
    use super::{Curve, apart, plot, tick_step};

    #[test]
    fn ticks_are_round_numbers() {
        for (span, step) in [(1.0, 0.2), (0.7, 0.2), (40.0, 10.0), (0.013, 0.005)] {
            assert!((tick_step(span) - step).abs() < 1e-12, "{span}: {}", tick_step(span));
        }
    }

    #[test]
    fn an_accuracy_has_no_tick_above_100() {
        for values in [[93.3, 100.0, 100.0], [100.0, 100.0, 100.0]] {
            let text = plot("accuracy", &[Curve::new("held out", "red", &values)]);
            let ticks =
                text.split("fill='#777'>").skip(1).filter_map(|rest| rest.split('<').next()?.parse().ok());
            let largest = ticks.fold(0.0f64, f64::max);
            assert!((largest - 100.0).abs() < 1e-9, "{largest}: {text}");
        }
    }

    #[test]
    fn labels_stand_right_of_the_last_points_and_apart() {
        // The second ends where the first does, the third at the lower end.
        let curves = [[3.0, 2.0, 1.0], [2.0, 1.0, 1.0], [1.0, 0.5, 0.0]];
        let curves: Vec<Curve<'_>> = curves.iter().map(|values| Curve::new("curve", "red", values)).collect();
        let svg = plot("loss", &curves);
        let number = |text: &str, name: &str| -> f64 {
            text.split(name).nth(1).unwrap().split('\'').next().unwrap().parse().unwrap()
        };
        let labels: Vec<&str> = svg.split("<text ").filter(|text| text.contains(">curve<")).collect();
        let points = svg.split("<circle ").skip(1).map(|text| number(text, "cx='"));
        let rightmost = points.fold(0.0, f64::max);
        assert!(labels.len() == 3 && labels.iter().all(|label| number(label, "x='") > rightmost), "{svg}");
        let heights: Vec<f64> = labels.iter().map(|label| number(label, "y='")).collect();
        for (i, a) in heights.iter().enumerate() {
            assert!(heights[..i].iter().all(|b| (a - b).abs() >= 14.9), "{heights:?}");
        }
        assert_eq!(apart(&[185.0, 188.0, 40.0]), [175.0, 190.0, 40.0]);
    }

    #[test]
    fn all_points_lie_inside_and_a_nan_is_left_out() {
        let svg = plot("loss", &[Curve::new("training", "red", &[2.0, f64::NAN, 0.5])]);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(!svg.contains("NaN"), "{svg}");
        assert_eq!(plot("loss", &[Curve::new("training", "red", &[])]), "");
        assert!(plot("one", &[Curve::new("same", "red", &[1.0])]).contains("<circle"));
    }
}
