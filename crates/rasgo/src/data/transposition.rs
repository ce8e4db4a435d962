//! Arrays whose axes stand in another order than a model's.

/// What to do about samples of one shape for a model that takes another, where a transposition of their axes brings one to
/// the other; N stands in front where they are a batch.
///
/// ```
/// use rasgo::data::transposition;
/// let hint = transposition(&[60, 28, 28, 3], &[3, 28, 28]).unwrap();
/// assert_eq!(hint, "its axes stand in another order: x.transpose(0, 3, 1, 2)");
/// assert_eq!(transposition(&[60, 3, 28, 28], &[3, 28, 28]), None);
/// ```
pub fn transposition(found: &[usize], wanted: &[usize]) -> Option<String> {
    let batched = found.len() == wanted.len() + 1;
    let mut order: Vec<usize> = if batched { vec![0] } else { Vec::new() };
    for &size in wanted {
        order.push((0..found.len()).find(|&axis| !order.contains(&axis) && found[axis] == size)?);
    }
    let moves = order.len() == found.len() && !order.is_sorted();
    let axes: Vec<String> = order.iter().map(usize::to_string).collect();
    moves.then(|| format!("its axes stand in another order: x.transpose({})", axes.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::transposition;

    #[test]
    fn the_transposition_keeps_the_order_of_equal_axes() {
        let call = |found: &[usize], wanted: &[usize]| {
            let hint = transposition(found, wanted).unwrap_or_default();
            hint.trim_start_matches("its axes stand in another order: ").to_string()
        };
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
