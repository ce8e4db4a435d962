//! How a map is cut into tiles, and the transforms between maps and planes.
//!
//! A *plane* holds one of the `N * N` elements of every transformed tile: `plane[tile, channel]`. Planes lie `plane`
//! elements apart and tiles `row` apart, both an odd number of cache lines, so that neither the planes of one tile nor
//! the tiles of one plane fall into the same sets of the first-level cache.

use std::marker::PhantomData;
use std::ops::Range;

use super::scheme::Scheme;
use crate::epilogue::Finish;
use crate::simd::Vector;

/// Elements of a cache line.
const LINE: usize = 16;

/// The least odd number of cache lines that holds so many elements, in elements.
pub(super) fn odd_lines(len: usize) -> usize {
    (len.div_ceil(LINE) | 1) * LINE
}

/// A convolution of stride 1 with 3x3 taps, as Winograd sees it: its maps and their padding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maps {
    pub(super) images: usize,
    /// Height and width of the input.
    pub(super) input: [usize; 2],
    /// Height and width of the output.
    pub(super) output: [usize; 2],
    /// Zeros above and to the left of the input.
    pub(super) padding: [usize; 2],
    /// Outputs of a tile along each axis.
    pub(super) step: usize,
}

/// The place of a tile: its image, and its first output.
#[derive(Debug, Clone, Copy)]
struct Place {
    image: usize,
    y: usize,
    x: usize,
}

impl Maps {
    /// Tiles down and across an image.
    fn grid(&self) -> [usize; 2] {
        self.output.map(|len| len.div_ceil(self.step))
    }

    /// Tiles of an image.
    pub(super) fn tiles_of_image(&self) -> usize {
        self.grid().iter().product()
    }

    /// All tiles.
    pub(super) fn tiles(&self) -> usize {
        self.images * self.tiles_of_image()
    }

    fn place(&self, tile: usize) -> Place {
        let [down, across] = self.grid();
        let (image, at) = (tile / (down * across), tile % (down * across));
        Place { image, y: at / across * self.step, x: at % across * self.step }
    }
}

/// Planes in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planes {
    /// Distance of planes.
    pub(super) plane: usize,
    /// Distance of tiles.
    pub(super) row: usize,
}

impl Planes {
    /// Room for so many tiles and channels.
    pub(super) fn new(tiles: usize, channels: usize) -> Planes {
        let row = odd_lines(channels);
        Planes { plane: odd_lines(tiles * row), row }
    }

    /// Elements of `count` planes.
    pub(super) fn len(&self, count: usize) -> usize {
        self.plane * count
    }
}

/// The pixels that a tile reads, as pointers to their first channel; those outside the map point to zeros.
#[inline(always)]
fn pixels<const N: usize>(
    src: *const f32,
    zeros: *const f32,
    ch: usize,
    [h, w]: [usize; 2],
    place: Place,
    [top, left]: [usize; 2],
) -> [[*const f32; N]; N] {
    let mut at = [[zeros; N]; N];
    for (i, line) in at.iter_mut().enumerate() {
        let y = (place.y + i).wrapping_sub(top);
        for (j, pixel) in line.iter_mut().enumerate() {
            let x = (place.x + j).wrapping_sub(left);
            if y < h && x < w {
                *pixel = src.wrapping_add(((place.image * h + y) * w + x) * ch);
            }
        }
    }
    at
}

/// A linear map along one axis of what a tile reads.
///
/// Not a closure: those would not be compiled for the instruction set.
trait Along<const I: usize, const N: usize> {
    fn apply<V: Vector>(x: [V; I]) -> [V; N];
}

/// `B^T d`
struct OfInput<S, const M: usize>(PhantomData<S>);

impl<S: Scheme<N, M>, const N: usize, const M: usize> Along<N, N> for OfInput<S, M> {
    #[inline(always)]
    fn apply<V: Vector>(x: [V; N]) -> [V; N] {
        S::input(x)
    }
}

/// `A y`
struct OfGradOutput<S>(PhantomData<S>);

impl<S: Scheme<N, M>, const N: usize, const M: usize> Along<M, N> for OfGradOutput<S> {
    #[inline(always)]
    fn apply<V: Vector>(x: [V; M]) -> [V; N] {
        S::grad_output(x)
    }
}

/// Loads `n` channels of every pixel, from `c` on, applies the map along both axes, and stores the planes; by halves of
/// the planes' columns, so that what lives at a time fits the registers. Asks for the pixels of the next tile, which lie on
/// many short lines that the processor does not foresee.
///
/// # Safety
/// The pixels have these channels; the planes have room for a whole vector.
#[inline(always)]
unsafe fn vector_to_planes<
    V: Vector,
    A: Along<I, N>,
    const I: usize,
    const N: usize,
    const HALF: usize,
    const PART: bool,
>(
    at: &[[*const f32; I]; I],
    c: usize,
    n: usize,
    dst: *mut f32,
    plane: usize,
    ch: usize,
) {
    for from in [0, HALF] {
        let mut columns = [[V::zero(); I]; HALF];
        for i in 0..I {
            let mut line = [V::zero(); I];
            for j in 0..I {
                let pixel = at[i][j].wrapping_add(c);
                // A tile has N - 2 columns of outputs.
                if !PART && from == 0 && j + (N - 2) >= I {
                    V::prefetch(pixel.wrapping_add((N - 2) * ch));
                }
                // SAFETY: the caller's promise.
                line[j] = unsafe { if PART { V::load_first(pixel, n) } else { V::load(pixel) } };
            }
            let line = A::apply(line);
            for j in 0..HALF {
                columns[j][i] = line[from + j];
            }
        }
        for j in 0..HALF {
            let column = A::apply(columns[j]);
            for i in 0..N {
                // SAFETY: the caller's promise.
                unsafe { column[i].store(dst.wrapping_add((i * N + from + j) * plane)) };
            }
        }
    }
}

/// All channels of one tile.
///
/// # Safety
/// The pixels have `ch` channels, and rows of planes are whole vectors.
#[inline(always)]
unsafe fn tile_to_planes<V: Vector, A: Along<I, N>, const I: usize, const N: usize, const HALF: usize>(
    at: &[[*const f32; I]; I],
    ch: usize,
    dst: *mut f32,
    plane: usize,
) {
    let mut c = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while c + V::LANES <= ch {
            vector_to_planes::<V, A, I, N, HALF, false>(at, c, V::LANES, dst.wrapping_add(c), plane, ch);
            c += V::LANES;
        }
        if c < ch {
            vector_to_planes::<V, A, I, N, HALF, true>(at, c, ch - c, dst.wrapping_add(c), plane, ch);
        }
    }
}

/// `B^T d B` of the input under each tile.
///
/// # Safety
/// `src` is the map `[images, input, ch]`, `zeros` holds `ch` of them, `dst` has room for the planes of the tiles.
#[inline(always)]
pub(super) unsafe fn input<V: Vector, S: Scheme<N, M>, const N: usize, const M: usize, const HALF: usize>(
    maps: &Maps,
    ch: usize,
    tiles: Range<usize>,
    src: *const f32,
    zeros: *const f32,
    dst: *mut f32,
    planes: Planes,
) {
    for (t, tile) in tiles.enumerate() {
        let at = pixels::<N>(src, zeros, ch, maps.input, maps.place(tile), maps.padding);
        let to = dst.wrapping_add(t * planes.row);
        // SAFETY: the caller's promise.
        unsafe { tile_to_planes::<V, OfInput<S, M>, N, N, HALF>(&at, ch, to, planes.plane) };
    }
}

/// `A dy A^T` of the gradient of each tile's outputs.
///
/// # Safety
/// As [`input`], of the map `[images, output, ch]`.
#[inline(always)]
pub(super) unsafe fn grad_output<
    V: Vector,
    S: Scheme<N, M>,
    const N: usize,
    const M: usize,
    const HALF: usize,
>(
    maps: &Maps,
    ch: usize,
    tiles: Range<usize>,
    dy: *const f32,
    zeros: *const f32,
    dst: *mut f32,
    planes: Planes,
) {
    for (t, tile) in tiles.enumerate() {
        let at = pixels::<M>(dy, zeros, ch, maps.output, maps.place(tile), [0, 0]);
        let to = dst.wrapping_add(t * planes.row);
        // SAFETY: the caller's promise.
        unsafe { tile_to_planes::<V, OfGradOutput<S>, M, N, HALF>(&at, ch, to, planes.plane) };
    }
}

/// `A^T m A` of each tile, to channels `first ..` of the map; `count` channels, of which the planes have whole vectors.
///
/// # Safety
/// `m` holds the planes of the tiles; `dst` is the map `[images, output, ch]`, and no one else uses these channels of
/// these tiles; the bias has `ch` elements, and what is added those of the map.
#[inline(always)]
pub(super) unsafe fn output<V: Vector, S: Scheme<N, M>, const N: usize, const M: usize>(
    maps: &Maps,
    ch: usize,
    channels: Range<usize>,
    tiles: Range<usize>,
    m: *const f32,
    planes: Planes,
    finish: Finish,
    dst: *mut f32,
) {
    let [h, w] = maps.output;
    for (t, tile) in tiles.enumerate() {
        let place = maps.place(tile);
        let inside = [(h - place.y).min(M), (w - place.x).min(M)];
        let first = ((place.image * h + place.y) * w + place.x) * ch + channels.start;
        let (from, to) = (m.wrapping_add(t * planes.row), dst.wrapping_add(first));
        let mut c = 0;
        while c < channels.len() {
            let finish = finish.further(channels.start + c, first + c);
            let (from, to, n) = (from.wrapping_add(c), to.wrapping_add(c), channels.len() - c);
            // SAFETY: the planes hold the tile, in whole vectors; the pixels inside lie in the map.
            unsafe {
                if n >= V::LANES {
                    vector_to_map::<V, S, N, M, false>(from, planes.plane, finish, inside, to, w * ch, ch, n);
                } else {
                    vector_to_map::<V, S, N, M, true>(from, planes.plane, finish, inside, to, w * ch, ch, n);
                }
            }
            c += V::LANES;
        }
    }
}

/// `n` channels of a tile's outputs, of which `inside` rows and columns are wanted.
///
/// # Safety
/// The planes hold a whole vector; the bias, each pixel inside and what is added to it `n` channels, or a whole vector of
/// them.
#[inline(always)]
unsafe fn vector_to_map<V: Vector, S: Scheme<N, M>, const N: usize, const M: usize, const PART: bool>(
    from: *const f32,
    plane: usize,
    finish: Finish,
    inside: [usize; 2],
    to: *mut f32,
    line: usize,
    pixel: usize,
    n: usize,
) {
    let mut lines = [[V::zero(); N]; M];
    for j in 0..N {
        let mut column = [V::zero(); N];
        for i in 0..N {
            // SAFETY: the caller's promise.
            column[i] = unsafe { V::load(from.wrapping_add((i * N + j) * plane)) };
        }
        let column = S::output(column);
        for i in 0..M {
            lines[i][j] = column[i];
        }
    }
    // SAFETY: the caller's promise.
    let bias = unsafe { finish.bias::<V, PART>(0, n) };
    for i in 0..M {
        let outputs = S::output(lines[i]);
        for j in 0..M {
            if i < inside[0] && j < inside[1] {
                let at = i * line + j * pixel;
                let to = to.wrapping_add(at);
                // SAFETY: the caller's promise.
                unsafe {
                    let x = finish.apply::<V, PART>(outputs[j], bias, at, n);
                    if PART { x.store_first(to, n) } else { x.store(to) }
                };
            }
        }
    }
}
