//! Linear maps that act on each axis for itself: padding, resampling, and their gradients.
//!
//! `dst[o, p, …] = sum over (i, u) of taps(o), (j, v) of taps(p), … of u * v * … * src[i, j, …]`. The gradient of such a
//! map is the map whose axes are transposed, so nothing is scattered: no two tasks write the same place, and every sum
//! has a fixed order.

use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;
use crate::{Float, Isa};

/// What one axis of the result reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Axis {
    /// Each place reads the same place.
    Whole(usize),
    /// Each place reads weighted places.
    Taps(Taps),
}

/// For each place of an axis of the result, the places of the source that it reads, with their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Taps {
    input: usize,
    /// Where each place's taps begin; one more than places.
    starts: Vec<usize>,
    taps: Vec<(usize, f64)>,
}

impl Taps {
    /// An axis of `output` places over one of `input`; `of` gives the taps of a place.
    pub fn new<I: IntoIterator<Item = (usize, f64)>>(
        input: usize,
        output: usize,
        of: impl Fn(usize) -> I,
    ) -> Taps {
        let (mut starts, mut taps) = (Vec::with_capacity(output + 1), Vec::with_capacity(output));
        starts.push(0);
        for o in 0..output {
            taps.extend(of(o));
            starts.push(taps.len());
        }
        assert!(taps.iter().all(|&(i, _)| i < input), "a tap reads a place of the axis");
        Taps { input, starts, taps }
    }

    fn of(&self, o: usize) -> &[(usize, f64)] {
        &self.taps[self.starts[o]..self.starts[o + 1]]
    }

    /// From the first to behind the last place that has a weight for this one.
    pub fn span(&self, o: usize) -> std::ops::Range<usize> {
        let weighted = || self.of(o).iter().filter(|(_, weight)| *weight != 0.0).map(|&(i, _)| i);
        weighted().min().unwrap_or(0)..weighted().max().map_or(0, |last| last + 1)
    }

    fn output(&self) -> usize {
        self.starts.len() - 1
    }

    /// The axis of the gradient: which places of the result read each place of the source.
    pub fn transposed(&self) -> Taps {
        let mut starts = vec![0; self.input + 1];
        for &(i, _) in &self.taps {
            starts[i + 1] += 1;
        }
        for i in 0..self.input {
            starts[i + 1] += starts[i];
        }
        let (mut next, mut taps) = (starts.clone(), vec![(0, 0.0); self.taps.len()]);
        for o in 0..self.output() {
            for &(i, weight) in self.of(o) {
                taps[next[i]] = (o, weight);
                next[i] += 1;
            }
        }
        Taps { input: self.output(), starts, taps }
    }
}

impl Axis {
    fn input(&self) -> usize {
        match self {
            Axis::Whole(size) => *size,
            Axis::Taps(taps) => taps.input,
        }
    }

    fn output(&self) -> usize {
        match self {
            Axis::Whole(size) => *size,
            Axis::Taps(taps) => taps.output(),
        }
    }

    /// The axis of the gradient.
    pub fn transposed(&self) -> Axis {
        match self {
            Axis::Whole(size) => Axis::Whole(*size),
            Axis::Taps(taps) => Axis::Taps(taps.transposed()),
        }
    }
}

/// The map of `src` to `dst` by its axes, the outermost first. Places that read nothing are `empty`.
///
/// Taps are added in their order; the weight of a single tap of 1 leaves a value's bits as they are.
pub fn resample<T: Float + Element>(axes: &[Axis], empty: T, src: &[T], dst: &mut [T]) {
    assert_eq!(src.len(), axes.iter().map(Axis::input).product::<usize>(), "the axes' source");
    assert_eq!(dst.len(), axes.iter().map(Axis::output).product::<usize>(), "the axes' result");
    if dst.is_empty() {
        return;
    }
    // Whole axes at the end are runs of elements that go together.
    let taps = axes.iter().rposition(|axis| matches!(axis, Axis::Taps(_)));
    let (axes, run) = axes.split_at(taps.map_or(0, |last| last + 1));
    let run: usize = run.iter().map(Axis::output).product();
    let Some((Axis::Taps(last), outer)) = axes.split_last() else {
        return dst.copy_from_slice(src);
    };
    let isa = Isa::current();
    let line = last.output() * run;
    let lines = (CHUNK / line).max(1);
    parallel_chunks(dst, lines * line, |task, dst| {
        let (mut sources, mut wider) = (Vec::new(), Vec::new());
        for (i, dst) in dst.chunks_exact_mut(line).enumerate() {
            gather(outer, task * lines + i, &mut sources, &mut wider);
            resample_line(isa, &sources, last, run, empty, src, dst);
        }
    });
}

/// The lines of the source that a line of the result reads: (number, weight).
fn gather(outer: &[Axis], line: usize, sources: &mut Vec<(usize, f64)>, wider: &mut Vec<(usize, f64)>) {
    sources.clear();
    sources.push((0, 1.0));
    let mut lines: usize = outer.iter().map(Axis::output).product();
    let mut rest = line;
    for axis in outer {
        lines /= axis.output();
        let at = rest / lines;
        rest %= lines;
        match axis {
            Axis::Whole(size) => sources.iter_mut().for_each(|(number, _)| *number = *number * size + at),
            Axis::Taps(taps) => {
                wider.clear();
                for &(number, weight) in sources.iter() {
                    let tap = |&(i, factor): &(usize, f64)| (number * taps.input + i, weight * factor);
                    wider.extend(taps.of(at).iter().map(tap));
                }
                std::mem::swap(sources, wider);
            }
        }
    }
}

isa_fn! {
    fn resample_line<T: Float>(
        sources: &[(usize, f64)], last: &Taps, run: usize, empty: T, src: &[T], dst: &mut [T],
    ) {
        let length = last.input * run;
        for (o, dst) in dst.chunks_exact_mut(run).enumerate() {
            let taps = last.of(o);
            let mut first = true;
            for &(number, weight) in sources {
                let line = &src[number * length..][..length];
                for &(i, factor) in taps {
                    let weight = T::from_f64(weight * factor);
                    let from = &line[i * run..][..run];
                    if first {
                        dst.iter_mut().zip(from).for_each(|(to, from)| *to = weight * *from);
                        first = false;
                    } else {
                        dst.iter_mut().zip(from).for_each(|(to, from)| *to += weight * *from);
                    }
                }
            }
            if first {
                dst.fill(empty);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, numbers, poison, same_everywhere};

    fn places(axis: &Axis, o: usize) -> Vec<(usize, f64)> {
        match axis {
            Axis::Whole(_) => vec![(o, 1.0)],
            Axis::Taps(taps) => taps.of(o).to_vec(),
        }
    }

    /// Four axes, by the formula.
    fn formula(axes: &[Axis; 4], empty: f64, src: &[f64]) -> Vec<f64> {
        let [a, b, c, d] = axes;
        let mut dst = Vec::new();
        for (o, p, q, r) in (0..a.output()).flat_map(|o| {
            (0..b.output()).flat_map(move |p| {
                (0..c.output()).flat_map(move |q| (0..d.output()).map(move |r| (o, p, q, r)))
            })
        }) {
            let (mut sum, mut any) = (0.0, false);
            for (i, s) in places(a, o) {
                for (j, t) in places(b, p) {
                    for (k, u) in places(c, q) {
                        for (l, v) in places(d, r) {
                            let at = ((i * b.input() + j) * c.input() + k) * d.input() + l;
                            sum += s * t * u * v * src[at];
                            any = true;
                        }
                    }
                }
            }
            dst.push(if any { sum } else { empty });
        }
        dst
    }

    fn axes(run: usize) -> [Axis; 4] {
        [
            Axis::Whole(3),
            Axis::Taps(Taps::new(4, 9, |o| (o > 1).then_some((o % 4, 1.0)))),
            Axis::Taps(Taps::new(5, 7, |o| [(o % 5, 0.25), ((o + 1) % 5, 0.75)])),
            match run {
                0 => Axis::Taps(Taps::new(6, 5, |o| [(o, 1.0)])),
                run => Axis::Whole(run),
            },
        ]
    }

    #[test]
    fn maps_and_their_gradients_follow_the_formula() {
        for run in [0, 1, 3, 17, 70] {
            let axes = axes(run);
            for axes in [axes.clone(), axes.map(|axis| axis.transposed())] {
                let src: Vec<f64> = numbers(3, axes.iter().map(Axis::input).product());
                let narrow: Vec<f32> = src.iter().map(|&x| x as f32).collect();
                let want = formula(&axes, -7.0, &src);
                let got = same_everywhere(|| {
                    let mut dst = poison::<f32>(want.len());
                    resample(&axes, -7.0, &narrow, &mut dst);
                    dst
                });
                assert_close(&got, &want, 1e-6, "f32");
                let mut dst = poison::<f64>(want.len());
                resample(&axes, -7.0, &src, &mut dst);
                assert_close(&dst, &want, 1e-14, "f64");
            }
        }
    }

    #[test]
    fn empty_axes_and_whole_ones_are_fine() {
        resample::<f32>(&[Axis::Whole(0), Axis::Taps(Taps::new(2, 3, |_| [(1, 1.0)]))], 0.0, &[], &mut []);
        let mut dst = [f32::NAN; 3];
        resample(&[Axis::Taps(Taps::new(0, 3, |_| None))], 4.0, &[], &mut dst);
        assert_eq!(dst, [4.0; 3]);
        resample(&[Axis::Whole(3)], 0.0, &[1.0, 2.0, f32::INFINITY], &mut dst);
        assert_eq!(dst, [1.0, 2.0, f32::INFINITY]);
    }
}
