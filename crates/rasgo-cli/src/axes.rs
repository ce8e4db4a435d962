//! Arrays whose axes stand in another order than the model's.

use std::path::Path;

use rasgo::formats::{Npz, npy, safetensors};
use rasgo::{Error, Tensor};

/// The transposition of `x` that brings samples of one shape to another, with N in front where `x` is a batch; `None` if
/// none does.
fn transposition(found: &[usize], wanted: &[usize]) -> Option<String> {
    let batched = found.len() == wanted.len() + 1;
    let mut order: Vec<usize> = if batched { vec![0] } else { Vec::new() };
    for &size in wanted {
        order.push((0..found.len()).find(|&axis| !order.contains(&axis) && found[axis] == size)?);
    }
    let moves = order.len() == found.len() && !order.is_sorted();
    let axes: Vec<String> = order.iter().map(usize::to_string).collect();
    moves.then(|| format!("x.transpose({})", axes.join(", ")))
}

/// The error of an array of that shape, with the transposition that would mend it, if one does.
pub(crate) fn with_transposition(error: Error, found: &[usize], wanted: &[usize]) -> Error {
    match transposition(found, wanted) {
        Some(call) => error.hint(format!("its axes stand in another order: {call}")),
        None => error,
    }
}

/// The array that predictions are made of, if the file has one.
pub(crate) fn array_of(path: &Path) -> Option<Tensor> {
    let in_archive = || Npz::open(path).ok()?.array("x").ok()?;
    let in_safetensors = || safetensors::load(path).ok()?.get("x").cloned();
    npy::load(path).ok().or_else(in_archive).or_else(in_safetensors)
}

#[cfg(test)]
mod tests {
    use super::transposition;

    #[test]
    fn the_transposition_keeps_the_order_of_equal_axes() {
        let call = |found: &[usize], wanted: &[usize]| transposition(found, wanted).unwrap_or_default();
        assert_eq!(call(&[60, 28, 28, 3], &[3, 28, 28]), "x.transpose(0, 3, 1, 2)");
        assert_eq!(call(&[28, 28, 3], &[3, 28, 28]), "x.transpose(2, 0, 1)");
        assert_eq!(call(&[3, 28, 28, 3], &[3, 28, 28]), "x.transpose(0, 3, 1, 2)");
        assert_eq!(call(&[60, 40, 2], &[2, 40]), "x.transpose(0, 2, 1)");
        assert_eq!(call(&[5, 1, 8, 9, 9], &[1, 9, 9, 8]), "x.transpose(0, 1, 3, 4, 2)");
        for (found, wanted) in [
            (&[60, 3, 28, 28][..], &[3, 28, 28][..]),
            (&[60, 3, 28, 29], &[3, 28, 28]),
            (&[784], &[1, 28, 28]),
        ] {
            assert_eq!(call(found, wanted), "");
        }
    }
}
