//! The gradient to the weight: `du[plane][ic, oc] = v[plane][tiles, ic]^T * z[plane][tiles, oc]`, where `v` are the
//! transformed tiles of the input and `z` those of the gradient; then `dw = G^T du G`.
//!
//! Tiles are taken in chunks, of a fixed number of images or a fixed part of one. Of a chunk both sides are transformed
//! and wait in the third-level cache. Then the products are shared out, in one of two ways with the same bits:
//!
//! - *by planes*: a task makes whole planes of `du`, reading its planes of both sides once; the planes wait to be
//!   transformed back.
//! - *by blocks*, where the planes of `du` are too large for that: a task makes one block of `du` in all planes, in its
//!   second-level cache, and transforms it back at once.
//!
//! The results of chunks are added by a pairwise tree. So the sums depend on the problem alone, and a batch that is cut at
//! a power of two of chunks gives the same tree.

use std::ops::Range;

use super::ConvProblem;
use super::filter::TAPS;
use super::kind::Kind;
use super::tiles::{Maps, Planes, odd_lines};
use crate::gemm::strided::{Kernels, Panel, Tile};
use crate::gemm::transposed::pack_transposed;
use crate::rows::RowChunks;
use crate::threads::{Scratch, SharedMut, parallel, parallel_scratch};
use crate::{Buffer, Isa};

/// Elements of the transformed tiles of a chunk, about.
const CHUNK: usize = 2 << 20;
/// Elements of `du`, at most, that wait in the third-level cache.
const WAITING: usize = 5 << 19;
/// Rows and columns of a block of `du`; its planes stay in the second-level cache.
const ROWS: usize = 48;
const COLS: usize = 64;
/// The longest sum of a micro-kernel: its columns of both sides stay in the first-level cache. It decides the order of
/// sums, so it is a constant.
const K: usize = 128;

/// Both sides of a chunk, transformed.
#[derive(Clone, Copy)]
struct Sides<'a> {
    tiles: usize,
    v: (&'a [f32], Planes),
    z: (&'a [f32], Planes),
}

/// How `du` is cut into blocks.
struct Plan {
    isa: Isa,
    kind: &'static Kind,
    kernels: &'static Kernels,
    ic: usize,
    panels: Vec<Panel>,
    /// Rows of a block.
    rows: usize,
    /// Panels of a block.
    across: usize,
    /// Results of chunks that wait in the tree, at most.
    levels: usize,
}

/// A block of `du`.
struct Block<'a> {
    number: usize,
    rows: Range<usize>,
    panels: &'a [Panel],
}

impl Plan {
    fn new(isa: Isa, p: &ConvProblem, chunks: usize) -> Plan {
        let kernels = Kernels::of(isa);
        let rows = (ROWS / kernels.height()) * kernels.height();
        let across = COLS / kernels.width();
        let levels = chunks.max(1).ilog2() as usize + 2;
        Plan { isa, kind: Kind::of(p), kernels, ic: p.ic, panels: kernels.panels(p.oc), rows, across, levels }
    }

    fn blocks(&self) -> usize {
        self.ic.div_ceil(self.rows) * self.panels.len().div_ceil(self.across)
    }

    fn block(&self, number: usize) -> Block<'_> {
        let across = self.panels.len().div_ceil(self.across);
        let (row, first) = (number / across * self.rows, number % across * self.across);
        Block {
            number,
            rows: row..self.ic.min(row + self.rows),
            panels: &self.panels[first..self.panels.len().min(first + self.across)],
        }
    }

    /// Elements of one result of a block.
    fn block_len(&self) -> usize {
        self.rows * TAPS * self.across * self.kernels.width()
    }

    /// `du[planes][panel][rows][width]` of some rows and panels; panel `i` begins at the sum of the widths before it
    /// times the number of rows.
    ///
    /// # Safety
    /// `du` has room for that, and both sides hold the planes of the tiles, in whole vectors.
    unsafe fn product(
        &self,
        sides: Sides<'_>,
        planes: Range<usize>,
        rows: Range<usize>,
        panels: &[Panel],
        du: *mut f32,
        du_plane: usize,
    ) {
        let ((v, v_planes), (z, z_planes)) = (sides.v, sides.z);
        let tall = self.kernels.even_height(rows.len());
        for plane in planes {
            let du = du.wrapping_add(plane * du_plane);
            for start in (0..sides.tiles).step_by(K) {
                let v = v.as_ptr().wrapping_add(plane * v_planes.plane + start * v_planes.row + rows.start);
                let z = z.as_ptr().wrapping_add(plane * z_planes.plane + start * z_planes.row);
                for panel in panels {
                    let to = du.wrapping_add((panel.at - panels[0].at) * rows.len());
                    for row in (0..rows.len()).step_by(tall) {
                        let height = tall.min(rows.len() - row);
                        let tile = Tile {
                            k: K.min(sides.tiles - start),
                            a: v.wrapping_add(row),
                            a_row: 1,
                            a_step: v_planes.row,
                            b: z.wrapping_add(panel.at),
                            b_step: z_planes.row,
                            dst: to.wrapping_add(row * panel.width),
                            dst_row: panel.width,
                            accumulate: start > 0,
                            ..Tile::PLAIN
                        };
                        // SAFETY: the caller's promise.
                        unsafe { self.kernels.get(height, panel.width)(&tile) };
                    }
                }
            }
        }
    }
}

/// The results of chunks, added by a tree as they come: for each block a stack of sums of falling powers of two of
/// chunks.
struct Tree<'a> {
    plan: &'a Plan,
    sums: SharedMut<'a, f32>,
    /// Sums on the stacks before this chunk, and how many of them this chunk is added to.
    top: usize,
    merges: usize,
    /// The weight, where this chunk is the last.
    out: Option<SharedMut<'a, f32>>,
}

impl Tree<'_> {
    /// Takes in `G^T du G` of some rows of a block; panel `i` of `du` has its row `rows.start` at `du_at(i)`.
    ///
    /// # Safety
    /// `du` holds the planes, `rows * width` elements of each panel, and nobody else uses this block.
    unsafe fn add(
        &self,
        block: &Block<'_>,
        du: *const f32,
        du_plane: usize,
        du_at: impl Fn(&Panel) -> usize,
    ) {
        let (plan, count, each) = (self.plan, block.rows.len(), self.plan.block_len());
        // SAFETY: each block has a stack of its own.
        let stack = unsafe { self.sums.slice(block.number * plan.levels * each, plan.levels * each) };
        for panel in block.panels {
            let at = (panel.at - block.panels[0].at) * plan.rows * TAPS;
            let len = count * TAPS * panel.width;
            // SAFETY: the caller's promise; the stack has room for one more.
            unsafe {
                let to = stack[self.top * each + at..][..len].as_mut_ptr();
                (plan.kind.grad_filter)(
                    plan.isa,
                    count,
                    panel.width,
                    du_plane,
                    du.wrapping_add(du_at(panel)),
                    to,
                );
            }
            for merge in 0..self.merges {
                let (below, last) = stack.split_at_mut((self.top - merge) * each);
                let below = &mut below[(self.top - merge - 1) * each + at..][..len];
                below.iter_mut().zip(&last[at..][..len]).for_each(|(sum, x)| *sum += *x);
            }
            if let Some(out) = self.out {
                let (from, ld, cols) = (stack[at..][..len].as_ptr(), plan.ic * TAPS, panel.cols.len());
                // SAFETY: filters of these outputs, of which this task alone writes these inputs.
                unsafe {
                    let to = out.as_ptr().wrapping_add(panel.cols.start * ld + block.rows.start * TAPS);
                    pack_transposed(plan.isa, from, panel.width, count * TAPS, cols, [1, cols], to, ld);
                }
            }
        }
    }
}

pub(super) fn run(isa: Isa, p: &ConvProblem, maps: Maps, src: &[f32], dy: &[f32], dw: &mut [f32]) {
    let kind = Kind::of(p);
    let each = kind.planes * (odd_lines(p.ic) + odd_lines(p.oc));
    let chunks = RowChunks::of(maps.tiles(), maps.tiles_of_image(), (CHUNK / each).max(1));
    let plan = Plan::new(isa, p, chunks.count());
    let most = (0..chunks.count()).map(|i| chunks.rows(i).len()).max().unwrap_or(0);
    let (v, z) = (Planes::new(most, p.ic), Planes::new(most, p.oc));
    let mut v_planes = Buffer::new::<f32>(v.len(kind.planes));
    let mut z_planes = Buffer::new::<f32>(z.len(kind.planes));
    let zeros = Buffer::zeroed::<f32>(p.ic.max(p.oc));
    let mut sums = Buffer::new::<f32>(plan.blocks() * plan.levels * plan.block_len());

    let columns = plan.panels.last().map_or(0, |last| last.at + last.width);
    let by_planes = kind.planes * p.ic * columns <= WAITING;
    let du_plane = odd_lines(p.ic * columns);
    let mut du = Buffer::new::<f32>(if by_planes { du_plane * kind.planes } else { 0 });
    let block_plane = odd_lines(plan.rows * plan.across * plan.kernels.width());

    let mut top = 0;
    for chunk in 0..chunks.count() {
        let tiles = chunks.rows(chunk);
        let (to_v, to_z) = (v_planes.as_mut_slice::<f32>(), z_planes.as_mut_slice::<f32>());
        let (to_v, to_z) = (SharedMut::new(to_v), SharedMut::new(to_z));
        let step = plan.kernels.height();
        parallel(tiles.len().div_ceil(step), |task| {
            let part = tiles.start + task * step..tiles.end.min(tiles.start + (task + 1) * step);
            let zeros = zeros.as_slice::<f32>().as_ptr();
            // SAFETY: each task fills its own tiles of every plane.
            unsafe {
                let to = to_v.as_ptr().wrapping_add(task * step * v.row);
                (kind.input)(isa, &maps, p.ic, part.clone(), src.as_ptr(), zeros, to, v);
                let to = to_z.as_ptr().wrapping_add(task * step * z.row);
                (kind.grad_output)(isa, &maps, p.oc, part, dy.as_ptr(), zeros, to, z);
            }
        });
        let sides = Sides { tiles: tiles.len(), v: (v_planes.as_slice(), v), z: (z_planes.as_slice(), z) };
        let last = chunk + 1 == chunks.count();
        // At the end whatever lies on the stacks is added up.
        let merges = if last { top } else { (chunk + 1).trailing_zeros() as usize };
        let out = last.then(|| SharedMut::new(&mut *dw));
        let tree = Tree { plan: &plan, sums: SharedMut::new(sums.as_mut_slice::<f32>()), top, merges, out };
        if by_planes {
            let shared = SharedMut::new(du.as_mut_slice::<f32>());
            parallel(kind.planes, |plane| {
                // SAFETY: each task makes a plane of its own.
                unsafe {
                    plan.product(sides, plane..plane + 1, 0..p.ic, &plan.panels, shared.as_ptr(), du_plane)
                };
            });
            let du = du.as_slice::<f32>();
            parallel(plan.blocks(), |task| {
                let block = plan.block(task);
                // SAFETY: each task takes in a block of its own.
                unsafe {
                    tree.add(&block, du.as_ptr(), du_plane, |panel| {
                        panel.at * p.ic + block.rows.start * panel.width
                    });
                }
            });
        } else {
            parallel_scratch(
                plan.blocks(),
                Scratch::bytes::<f32>(block_plane * kind.planes),
                |task, mut scratch| {
                    let du = scratch.take::<f32>(block_plane * kind.planes).as_mut_ptr();
                    let block = plan.block(task);
                    // SAFETY: the scratch holds the block's planes; each task has a block of its own.
                    unsafe {
                        plan.product(
                            sides,
                            0..kind.planes,
                            block.rows.clone(),
                            block.panels,
                            du,
                            block_plane,
                        );
                        let at = |panel: &Panel| (panel.at - block.panels[0].at) * block.rows.len();
                        tree.add(&block, du, block_plane, at);
                    }
                },
            );
        }
        top = top + 1 - merges;
    }
}
