//! Matrices that are read out of channels-last maps while they are packed.
//!
//! A convolution is a matrix product whose left side, `col`, has a row per output pixel and a column per (tap,
//! channel): far too large to be made. A [`View`] describes such a matrix, and [`View::pack`] copies a piece of
//! it, by contiguous runs of the map. An ordinary matrix is the view of a map one pixel high.

use std::ops::Range;

use crate::Isa;
use crate::isa::isa_fn;

/// Columns that are contiguous in the map: for row `(d, h, w)` of the grid, column `col + i` is the element
/// `w * step[2] * ch + off + i` of the map's line `(d * step[0] + at[0], h * step[1] + at[1])`, and 0 where
/// that lies outside.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) col: usize,
    pub(crate) len: usize,
    pub(crate) at: [isize; 2],
    pub(crate) off: isize,
}

/// The matrix `[images * grid, cols]` over a map `[images, map, ch]`.
#[derive(Debug)]
pub(crate) struct View<'a> {
    src: &'a [f32],
    map: [usize; 3],
    ch: usize,
    grid: [usize; 3],
    step: [usize; 3],
    runs: Vec<Run>,
    rows: usize,
    cols: usize,
}

/// Rows of a view that lie side by side on the grid's last axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) image: usize,
    pub(crate) d: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) len: usize,
}

impl<'a> View<'a> {
    /// The view of `images` maps on a grid; `runs` in rising order of columns.
    pub(crate) fn new(
        src: &'a [f32],
        images: usize,
        map: [usize; 3],
        ch: usize,
        grid: [usize; 3],
        step: [usize; 3],
        runs: Vec<Run>,
    ) -> Self {
        assert_eq!(src.len(), images * map.iter().product::<usize>() * ch, "the map has this many elements");
        let rows = images * grid.iter().product::<usize>();
        let cols = runs.last().map_or(0, |run| run.col + run.len);
        View { src, map, ch, grid, step, runs, rows, cols }
    }

    /// Columns `cols` of a row-major matrix `[rows, width]`.
    pub(crate) fn matrix(src: &'a [f32], rows: usize, width: usize, cols: Range<usize>) -> Self {
        let run = Run { col: 0, len: cols.len(), at: [0, 0], off: cols.start as isize };
        let line = [1, 1, rows];
        View::new(src, 1, line, width, line, [1, 1, 1], if cols.is_empty() { Vec::new() } else { vec![run] })
    }

    /// Its elements as they lie, rows a fixed distance apart, if it is some columns of an ordinary matrix.
    pub(crate) fn as_matrix(&self) -> Option<(&'a [f32], usize)> {
        let line = [1, 1, self.rows];
        match &self.runs[..] {
            [run] if self.map == line && self.grid == line && self.step[2] == 1 && run.at == [0, 0] => {
                Some((self.src.get(usize::try_from(run.off).ok()?..)?, self.ch))
            }
            _ => None,
        }
    }

    /// Rows of the matrix.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Cuts rows into segments.
    pub(crate) fn segments(&self, rows: Range<usize>, into: &mut Vec<Segment>) {
        into.clear();
        let [gd, gh, gw] = self.grid;
        let mut row = rows.start;
        while row < rows.end {
            let (line, w) = (row / gw, row % gw);
            let len = (gw - w).min(rows.end - row);
            into.push(Segment { image: line / (gd * gh), d: line / gh % gd, h: line % gh, w, len });
            row += len;
        }
    }

    /// Copies the rows of `segments`, columns `cols`, to `dst[row * stride + (column - cols.start)]`.
    ///
    /// # Safety
    /// The segments are this view's, and `dst` is writable there.
    pub(crate) unsafe fn pack(
        &self,
        isa: Isa,
        segments: &[Segment],
        cols: Range<usize>,
        dst: *mut f32,
        stride: usize,
    ) {
        let first = self.runs.partition_point(|run| run.col + run.len <= cols.start);
        for run in self.runs[first..].iter().take_while(|run| run.col < cols.end) {
            let (start, end) = (run.col.max(cols.start), (run.col + run.len).min(cols.end));
            let part = Run {
                col: start - cols.start,
                len: end - start,
                at: run.at,
                off: run.off + (start - run.col) as isize,
            };
            pack_run(isa, self, segments, &part, dst, stride);
        }
    }
}

isa_fn! {
    /// Copies one run of every segment; the caller's promises are those of [`View::pack`].
    fn pack_run(view: &View<'_>, segments: &[Segment], run: &Run, dst: *mut f32, stride: usize) {
        let line_len = (view.map[2] * view.ch) as isize;
        let step = (view.step[2] * view.ch) as isize;
        let len = run.len as isize;
        // Rows `low .. high` of a line have the whole run inside the map.
        let low = if run.off < 0 { (-run.off + step - 1) / step } else { 0 } as usize;
        let room = line_len - len - run.off;
        let high = if room < 0 { 0 } else { room / step + 1 } as usize;
        // SAFETY: `View::pack` is given a `dst` that holds the rows.
        let mut to = unsafe { dst.add(run.col) };
        for segment in segments {
            let d = (segment.d * view.step[0]) as isize + run.at[0];
            let h = (segment.h * view.step[1]) as isize + run.at[1];
            let inside = (0..view.map[0] as isize).contains(&d) && (0..view.map[1] as isize).contains(&h);
            let (from_w, to_w) = (segment.w, segment.w + segment.len);
            let (begin, end) = if inside {
                let begin = low.clamp(from_w, to_w);
                (begin, high.clamp(begin, to_w))
            } else {
                (to_w, to_w)
            };
            let line = (segment.image * view.map[0] + d.max(0) as usize) * view.map[1] + h.max(0) as usize;
            let line = if inside { line * line_len as usize } else { 0 };
            let source = &view.src[line..];
            let edge = |w: usize, to: *mut f32| {
                let start = w as isize * step + run.off;
                if len <= 16 {
                    for i in 0..len {
                        let element = inside && (0..line_len).contains(&(start + i));
                        let x = if element { source[(start + i) as usize] } else { 0.0 };
                        // SAFETY: the row has `len` elements.
                        unsafe { *to.offset(i) = x };
                    }
                    return;
                }
                // Elements a..b of the run lie inside the line.
                let (a, b) = if inside {
                    let a = (-start).clamp(0, len);
                    (a, (line_len - start).clamp(a, len))
                } else {
                    (len, len)
                };
                // SAFETY: by the choice of a and b; the row has `len` elements.
                unsafe {
                    fill(to, a as usize);
                    if a < b {
                        copy(source.as_ptr().offset(start + a), to.offset(a), (b - a) as usize);
                    }
                    fill(to.offset(b), (len - b) as usize);
                }
            };
            for w in from_w..begin {
                edge(w, to);
                to = to.wrapping_add(stride);
            }
            if begin < end {
                // SAFETY: rows begin..end read inside the line, by the choice of `low` and `high`.
                unsafe {
                    let from = source.as_ptr().offset(begin as isize * step + run.off);
                    copy_rows(from, step as usize, to, stride, end - begin, run.len);
                }
                to = to.wrapping_add(stride * (end - begin));
            }
            for w in end..to_w {
                edge(w, to);
                to = to.wrapping_add(stride);
            }
        }
    }
}

/// Copies `count` rows of `len` elements.
#[inline(always)]
unsafe fn copy_rows(
    mut from: *const f32,
    from_step: usize,
    mut to: *mut f32,
    to_step: usize,
    count: usize,
    len: usize,
) {
    macro_rules! each {
        ($len:expr) => {
            for _ in 0..count {
                // SAFETY: the caller promises `count` rows of `len` elements on both sides.
                unsafe { copy(from, to, $len) };
                from = from.wrapping_add(from_step);
                to = to.wrapping_add(to_step);
            }
        };
    }
    // Lengths that the compiler knows are copied without a loop.
    match len {
        1 => each!(1),
        3 => each!(3),
        5 => each!(5),
        14 => each!(14),
        16 => each!(16),
        32 => each!(32),
        _ => each!(len),
    }
}

/// Copies `len` elements, the last vector overlapping the one before.
#[inline(always)]
unsafe fn copy(from: *const f32, to: *mut f32, len: usize) {
    macro_rules! vectors {
        ($lanes:literal) => {{
            let mut i = 0;
            while i + $lanes <= len {
                // SAFETY: i + lanes is at most `len`.
                unsafe {
                    to.add(i).cast::<[f32; $lanes]>().write(from.add(i).cast::<[f32; $lanes]>().read());
                }
                i += $lanes;
            }
            if i < len {
                let i = len - $lanes;
                // SAFETY: `len` is at least `lanes`.
                unsafe {
                    to.add(i).cast::<[f32; $lanes]>().write(from.add(i).cast::<[f32; $lanes]>().read());
                }
            }
        }};
    }
    if len >= 16 {
        vectors!(16)
    } else if len >= 8 {
        vectors!(8)
    } else if len >= 4 {
        vectors!(4)
    } else {
        for i in 0..len {
            // SAFETY: i is less than `len`.
            unsafe { *to.add(i) = *from.add(i) };
        }
    }
}

#[inline(always)]
unsafe fn fill(to: *mut f32, len: usize) {
    for i in 0..len {
        // SAFETY: the caller promises `len` elements.
        unsafe { *to.add(i) = 0.0 };
    }
}
