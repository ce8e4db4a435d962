//! Forward and the gradient to the input: transform the input's tiles, multiply each plane with its filters, transform
//! the products back.
//!
//! `m[plane][tile, oc] = v[plane][tile, ic] * u[plane][ic, oc]`. Filters come in panels of as many output channels as a
//! micro-kernel is wide. There are two orders of the same work, with the same bits:
//!
//! - *by tiles*: a task transforms a block of tiles that stays in its second-level cache and runs all panels past it. The
//!   filters of the layer are transformed before, once.
//! - *by panels*, for filters too large for that, and for few tiles: all tiles are transformed first; a task transforms the
//!   filters of a few panels and runs the tiles past them, so that no more than the filters themselves comes from memory.

use std::ops::Range;

use super::ConvProblem;
use super::filter::{self, Filters, INPUTS, TAPS};
use super::kind::Kind;
use super::tiles::{Maps, Planes, odd_lines};
use crate::gemm::strided::{Kernels, Panel, Tile};
use crate::threads::{Scratch, SharedMut, parallel, parallel_chunks, parallel_scratch};
use crate::{Buffer, Epilogue, Isa};

/// Elements of the planes that a task works on, about: three quarters of a second-level cache of 512 KiB.
const BLOCK: usize = 96 << 10;
/// Elements of transformed filters that all tasks share: more of them go by panels.
const SHARED_FILTERS: usize = 5 << 18;
/// Elements of transformed input, about, that wait at a time for the panels.
const WAITING: usize = 4 << 20;
/// Fewer blocks of tiles than this go by panels.
const FEW: usize = 8;
/// Output channels of the panels of a task that goes by panels: it reads the input's planes once for all of them.
const COLS: usize = 64;
/// The longest sum of a micro-kernel: its rows stay in the first-level cache, and so many inputs' filters of a panel in
/// the second. It decides the order of sums, so it is a constant.
const K: usize = 128;

/// Whether the transformed filters are too large to be shared.
pub(super) fn is_large(kind: &Kind, filters: Filters<'_>) -> bool {
    kind.planes * filters.inputs() * filters.outputs() > SHARED_FILTERS
}

/// Elements of a panel's transformed filters of so many inputs, for the widest.
fn panel_len(isa: Isa, kind: &Kind, inputs: usize) -> usize {
    kind.planes * filter::plane(inputs, Kernels::of(isa).width())
}

/// All filters of a layer, transformed: the panels one after the other.
pub(super) fn transform_filters(isa: Isa, kind: &Kind, filters: Filters<'_>) -> Buffer {
    let panels = Kernels::of(isa).panels(filters.outputs());
    let len = panel_len(isa, kind, filters.inputs());
    let mut all = Buffer::new::<f32>(panels.len() * len);
    let shared = SharedMut::new(all.as_mut_slice::<f32>());
    let arranged = TAPS * INPUTS * Kernels::of(isa).width();
    parallel_scratch(panels.len(), Scratch::bytes::<f32>(arranged), |task, mut scratch| {
        let panel = &panels[task];
        // SAFETY: each panel has its own place.
        let to = unsafe { shared.slice(task * len, len) };
        let (inputs, arranged) = (0..filters.inputs(), scratch.take::<f32>(arranged));
        filters.panel(isa, inputs, panel.cols.clone(), panel.width, arranged, to, kind.filter);
    });
    all
}

/// All filters of a layer, arranged by taps, for [`Filters::arranged`]: panels and blocks of inputs one after the other.
pub(super) fn arrange_filters(isa: Isa, filters: Filters<'_>) -> Buffer {
    let (kernels, inputs) = (Kernels::of(isa), filters.inputs());
    let panels = kernels.panels(filters.outputs());
    let len = TAPS * inputs * kernels.width();
    let mut all = Buffer::zeroed::<f32>(panels.len() * len);
    parallel_chunks(all.as_mut_slice::<f32>(), len, |i, to| {
        let Panel { cols, width, .. } = &panels[i];
        for start in (0..inputs).step_by(INPUTS) {
            let block = start..inputs.min(start + INPUTS);
            filters.arrange(isa, block, cols.clone(), *width, &mut to[TAPS * start * width..]);
        }
    });
    all
}

/// The transformed filters of some panels.
#[derive(Clone, Copy)]
struct Transformed<'a> {
    /// A panel after the other.
    panels: &'a [f32],
    /// Distance of panels.
    len: usize,
    /// Inputs of each, and the first of them.
    inputs: usize,
    first: usize,
}

/// One product, and where its parts are.
struct Product<'a> {
    isa: Isa,
    kind: &'static Kind,
    kernels: &'static Kernels,
    maps: Maps,
    filters: Filters<'a>,
    panels: Vec<Panel>,
    epilogue: Epilogue<'a, f32>,
    src: &'a [f32],
    zeros: Buffer,
    dst: SharedMut<'a, f32>,
}

/// The convolution of `src` with `filters`; `transformed` is what [`transform_filters`] made of them, if it did.
pub(super) fn run(
    isa: Isa,
    p: &ConvProblem,
    maps: Maps,
    filters: Filters<'_>,
    transformed: Option<&[f32]>,
    src: &[f32],
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
) {
    let (kind, kernels) = (Kind::of(p), Kernels::of(isa));
    let (panels, zeros) = (kernels.panels(filters.outputs()), Buffer::zeroed::<f32>(filters.inputs()));
    let dst = SharedMut::new(dst);
    let product = Product { isa, kind, kernels, maps, filters, panels, epilogue, src, zeros, dst };
    let each = kind.planes * (odd_lines(filters.inputs()) + kernels.width());
    let block = product.whole_tiles(BLOCK / each);
    if is_large(kind, filters) || maps.tiles().div_ceil(block) < FEW {
        product.by_panels(transformed);
    } else {
        let own;
        let transformed = match transformed {
            Some(transformed) => transformed,
            None => {
                own = transform_filters(isa, kind, filters);
                own.as_slice()
            }
        };
        product.by_tiles(block, transformed);
    }
}

impl Product<'_> {
    /// So many tiles or fewer, as full tiles of the micro-kernel.
    fn whole_tiles(&self, most: usize) -> usize {
        (most / self.kernels.height()).max(1) * self.kernels.height()
    }

    fn by_tiles(&self, block: usize, transformed: &[f32]) {
        let (inputs, all, planes) = (self.filters.inputs(), self.maps.tiles(), self.kind.planes);
        let (v, m) = (Planes::new(block, inputs), self.product_planes(block));
        let bytes = Scratch::bytes::<f32>(v.len(planes)) + Scratch::bytes::<f32>(m.len(planes));
        parallel_scratch(all.div_ceil(block), bytes, |task, mut scratch| {
            let tiles = task * block..all.min((task + 1) * block);
            let waiting = scratch.take::<f32>(v.len(planes));
            let products = scratch.take::<f32>(m.len(planes));
            self.transform(tiles.clone(), waiting.as_mut_ptr(), v);
            let len = panel_len(self.isa, self.kind, inputs);
            for (panel, u) in self.panels.chunks(1).zip(transformed.chunks(len)) {
                let u = Transformed { panels: u, len, inputs, first: 0 };
                // SAFETY: the planes hold the tiles; this task alone writes them.
                unsafe {
                    self.multiply(0..inputs, panel, u, tiles.len(), waiting.as_ptr(), v, products, m);
                    self.finish(panel, tiles.clone(), products, m);
                }
            }
        });
    }

    fn by_panels(&self, transformed: Option<&[f32]>) {
        let (inputs, all, planes) = (self.filters.inputs(), self.maps.tiles(), self.kind.planes);
        let most = (WAITING / (planes * odd_lines(inputs))).max(self.kernels.height()).min(all.max(1));
        let v = Planes::new(most, inputs);
        let mut waiting = Buffer::new::<f32>(v.len(planes));
        // Panels of a task, and the tiles whose products with them it keeps.
        let width = self.kernels.width();
        let together = match transformed.is_none() && v.len(planes) <= BLOCK {
            // The tiles stay in the second-level cache, beside the filters of one panel.
            true => 1,
            false => (COLS / width).min(self.panels.len().div_ceil(FEW)).max(1),
        };
        let group = self.whole_tiles(BLOCK / (planes * width * together)).min(most);
        let m = self.product_planes(group);
        // The filters of all inputs are held only where several groups of tiles need them.
        let held = if most <= group { inputs.min(K) } else { inputs };
        let held_len = panel_len(self.isa, self.kind, held);
        let own_len = if transformed.is_some() { 0 } else { held_len };
        let sizes = [together * m.len(planes), together * own_len, TAPS * INPUTS * width];
        for start in (0..all).step_by(most) {
            let tiles = start..all.min(start + most);
            let shared = SharedMut::new(waiting.as_mut_slice::<f32>());
            let step = self.kernels.height();
            parallel(tiles.len().div_ceil(step), |task| {
                let part = tiles.start + task * step..tiles.end.min(tiles.start + (task + 1) * step);
                // Each task fills its own tiles of every plane.
                self.transform(part, shared.as_ptr().wrapping_add(task * step * v.row), v);
            });
            let waiting = waiting.as_slice::<f32>();
            let bytes = sizes.map(Scratch::bytes::<f32>).iter().sum();
            parallel_scratch(self.panels.len().div_ceil(together), bytes, |task, mut scratch| {
                let first = task * together;
                let panels = &self.panels[first..self.panels.len().min(first + together)];
                let [products, own, arranged] = sizes.map(|len| scratch.take::<f32>(len));
                for k in (0..inputs).step_by(held).map(|start| start..inputs.min(start + held)) {
                    let u = match transformed {
                        Some(all) => {
                            let len = panel_len(self.isa, self.kind, inputs);
                            Transformed { panels: &all[first * len..], len, inputs, first: 0 }
                        }
                        None => {
                            for (panel, own) in panels.iter().zip(own.chunks_mut(held_len)) {
                                let (outputs, width) = (panel.cols.clone(), panel.width);
                                let filter = self.kind.filter;
                                self.filters.panel(
                                    self.isa,
                                    k.clone(),
                                    outputs,
                                    width,
                                    arranged,
                                    own,
                                    filter,
                                );
                            }
                            Transformed { panels: own, len: held_len, inputs: k.len(), first: k.start }
                        }
                    };
                    for at in (0..tiles.len()).step_by(group) {
                        let count = group.min(tiles.len() - at);
                        let from = waiting[at * v.row..].as_ptr();
                        // SAFETY: the planes hold the tiles; this task alone writes these panels of them.
                        unsafe {
                            self.multiply(k.clone(), panels, u, count, from, v, products, m);
                            if k.end == inputs {
                                self.finish(panels, tiles.start + at..tiles.start + at + count, products, m);
                            }
                        }
                    }
                }
            });
        }
    }

    /// The planes of the products of so many tiles with a panel.
    fn product_planes(&self, tiles: usize) -> Planes {
        let row = self.kernels.width();
        Planes { plane: odd_lines(tiles * row), row }
    }

    /// Transforms the input's tiles to planes whose first row is `to`, which must have room for them.
    fn transform(&self, tiles: Range<usize>, to: *mut f32, planes: Planes) {
        let (src, zeros) = (self.src.as_ptr(), self.zeros.as_slice::<f32>().as_ptr());
        // SAFETY: the map is that of the problem, and there are zeros for every channel.
        unsafe {
            (self.kind.input)(self.isa, &self.maps, self.filters.inputs(), tiles, src, zeros, to, planes)
        };
    }

    /// Adds the sums over inputs `range` to the products `[panel][plane][tile][width]`, or begins with them.
    ///
    /// # Safety
    /// `v` holds the planes of the tiles.
    unsafe fn multiply(
        &self,
        range: Range<usize>,
        panels: &[Panel],
        u: Transformed<'_>,
        tiles: usize,
        v: *const f32,
        planes: Planes,
        products: &mut [f32],
        m: Planes,
    ) {
        assert!(panels.len() * u.len <= u.panels.len(), "the panels' filters");
        assert!(range.end - u.first <= u.inputs && tiles * m.row <= m.plane, "the inputs and the tiles");
        assert!(products.len() >= panels.len() * m.len(self.kind.planes), "room for the products");
        let height = self.kernels.even_height(tiles);
        // Of few rows several planes are computed at once, since one has too few sums to keep the processor busy.
        let together = Kernels::planes(tiles);
        for plane in (0..self.kind.planes).step_by(together) {
            for start in range.clone().step_by(K) {
                for (i, panel) in panels.iter().enumerate() {
                    let filters = i * u.len + plane * filter::plane(u.inputs, panel.width);
                    let to = i * m.len(self.kind.planes) + plane * m.plane;
                    for row in (0..tiles).step_by(height) {
                        let tile = Tile {
                            k: K.min(range.end - start),
                            a: v.wrapping_add(plane * planes.plane + row * planes.row + start),
                            a_row: planes.row,
                            a_step: 1,
                            b: u.panels.as_ptr().wrapping_add(filters + (start - u.first) * panel.width),
                            b_step: panel.width,
                            dst: products.as_mut_ptr().wrapping_add(to + row * m.row),
                            dst_row: m.row,
                            accumulate: start > 0,
                            a_plane: planes.plane,
                            b_plane: filter::plane(u.inputs, panel.width),
                            dst_plane: m.plane,
                            ..Tile::PLAIN
                        };
                        // SAFETY: the planes, the panels and the products hold these rows and columns.
                        unsafe {
                            match together {
                                1 => self.kernels.get(height.min(tiles - row), panel.width)(&tile),
                                _ => self.kernels.get_planes(tiles, panel.width)(&tile),
                            }
                        }
                    }
                }
            }
        }
    }

    /// Transforms the products of panels back and writes them.
    ///
    /// # Safety
    /// The products hold the tiles, and nobody else writes these channels of them.
    unsafe fn finish(&self, panels: &[Panel], tiles: Range<usize>, products: &[f32], m: Planes) {
        let finish = self.epilogue.from(0, 0);
        for (panel, products) in panels.iter().zip(products.chunks(m.len(self.kind.planes))) {
            let (ch, outputs, tiles) = (self.filters.outputs(), panel.cols.clone(), tiles.clone());
            let (from, dst) = (products.as_ptr(), self.dst.as_ptr());
            // SAFETY: the caller's promise.
            unsafe { (self.kind.output)(self.isa, &self.maps, ch, outputs, tiles, from, m, finish, dst) };
        }
    }
}
