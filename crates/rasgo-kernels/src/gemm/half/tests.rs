use super::pack::Panels;
use super::{COLS, ROWS, STEP, Session, Tile};
use crate::{Bf16, Isa};

/// Numbers without a pattern, of which sums of products are no round numbers.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

fn rounded(values: &[f32]) -> Vec<Bf16> {
    values.iter().map(|&x| Bf16::from_f32(x)).collect()
}

/// The plain formula in f64, for `reps` products whose left sides lie `rep` elements apart.
fn reference(
    [rows, k, reps, columns]: [usize; 4],
    a: &[Bf16],
    [a_row, a_rep]: [usize; 2],
    b: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut dst = vec![0.0; rows * columns];
    for (at, dst) in dst.iter_mut().enumerate() {
        let (row, column) = (at / columns, at % columns);
        for step in 0..reps * k {
            let a = a[row * a_row + step / k * a_rep + step % k];
            *dst += f64::from(a.to_f32()) * b(step, column);
        }
    }
    dst
}

#[test]
fn every_kernel_makes_every_tile() {
    for isa in Isa::available() {
        for (rows, columns, steps, reps) in
            [(1, 1, 1, 1), (7, 16, 2, 3), (16, 17, 1, 2), (17, 5, 3, 1), (32, 32, 4, 3)]
        {
            let k = steps * STEP;
            let (a_row, a_rep) = (k + 6, 40);
            let a = rounded(&values((rows - 1) * a_row + (reps - 1) * a_rep + k, 1));
            let b = values(reps * k * columns, 2);
            let panels = Panels::of_rows(isa, reps * k, columns, &b, |step| step * columns);
            let panel = panels.panel(0);
            let before = values(ROWS * COLS, 3);
            for accumulate in [false, true] {
                let mut dst = before.clone();
                let tile = Tile {
                    rows,
                    blocks: panel.blocks,
                    a: a.as_ptr(),
                    a_row,
                    steps,
                    reps,
                    a_rep,
                    b: panel.words,
                    dst: dst.as_mut_ptr(),
                    dst_row: COLS,
                    accumulate,
                };
                // SAFETY: `a` has the rows, the panel the steps, `dst` a whole tile.
                unsafe { Session::begin(isa).tile(&tile) };
                let b = |step: usize, column: usize| {
                    f64::from(Bf16::from_f32(b[step * columns + column]).to_f32())
                };
                let expected = reference([rows, k, reps, columns], &a, [a_row, a_rep], b);
                for row in 0..ROWS {
                    for column in 0..COLS {
                        let (found, before) = (dst[row * COLS + column], before[row * COLS + column]);
                        if row >= rows || column >= panel.blocks * 16 {
                            assert_eq!(found, before, "{isa:?} writes outside of {rows} {columns}");
                        } else if column < columns {
                            let start = if accumulate { f64::from(before) } else { 0.0 };
                            let expected = start + expected[row * columns + column];
                            let error = (f64::from(found) - expected).abs();
                            assert!(
                                error < 1e-4,
                                "{isa:?} {rows} {columns} {row} {column}: {found} {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn both_ways_to_pack_give_the_same_panels() {
    for isa in Isa::available() {
        for (k, columns) in [(1, 1), (31, 7), (32, 16), (70, 40), (96, 33)] {
            let rows = values(k * columns, 4);
            let turned: Vec<f32> = (0..k * columns).map(|i| rows[i % k * columns + i / k]).collect();
            let by_rows = Panels::of_rows(isa, k, columns, &rows, |step| step * columns);
            let by_columns = Panels::of_columns(isa, k, columns, &turned, k);
            for panel in 0..by_rows.count() {
                let (left, right) = (by_rows.panel(panel), by_columns.panel(panel));
                let len = by_rows.steps() * left.blocks * super::BLOCK;
                // SAFETY: the length of a panel.
                let words =
                    [left.words, right.words].map(|at| unsafe { std::slice::from_raw_parts(at, len) });
                assert_eq!(words[0], words[1], "{isa:?} {k} {columns} {panel}");
            }
        }
    }
}

/// The dot products of pairs and the tiles may differ in rounding; a level's own tile does not depend on its height.
#[test]
fn a_row_does_not_depend_on_the_others() {
    for isa in Isa::available() {
        let (k, columns) = (5 * STEP, 32);
        let (a, b) = (rounded(&values(ROWS * k, 5)), values(k * columns, 6));
        let panels = Panels::of_rows(isa, k, columns, &b, |step| step * columns);
        let panel = panels.panel(0);
        let run = |rows: usize, first: usize| {
            let mut dst = vec![0.0f32; ROWS * COLS];
            let tile = Tile {
                rows,
                blocks: panel.blocks,
                a: a[first * k..].as_ptr(),
                a_row: k,
                steps: 5,
                reps: 1,
                a_rep: 0,
                b: panel.words,
                dst: dst.as_mut_ptr(),
                dst_row: COLS,
                accumulate: false,
            };
            // SAFETY: as above.
            unsafe { Session::begin(isa).tile(&tile) };
            dst
        };
        let whole = run(ROWS, 0);
        for rows in 1..ROWS {
            let first = ROWS - rows;
            assert_eq!(run(rows, first)[..rows * COLS], whole[first * COLS..], "{isa:?} {rows}");
        }
    }
}
