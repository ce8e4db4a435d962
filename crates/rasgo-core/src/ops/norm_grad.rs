//! The gradient of a normalisation as a composition of ops, for gradients of gradients.

use crate::error::Result;
use crate::tensor::Tensor;

/// Where mean and variance came from.
pub(super) enum Moments<'a> {
    /// From the values themselves, over these axes.
    Own(&'a [isize]),
    /// They were given; they have the rank of the values.
    Given(&'a Tensor, &'a Tensor),
}

/// `dx` and `xhat = (x - mean) / sqrt(var + eps)`, where `g` is the gradient for `xhat`:
/// `dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps)`, without the means where the statistics were given.
pub(super) fn composed(x: &Tensor, g: &Tensor, moments: Moments<'_>, eps: f64) -> Result<(Tensor, Tensor)> {
    match moments {
        Moments::Own(axes) => {
            let centred = (x - x.mean_axes(axes, true)?)?;
            let var = centred.clone().square()?.mean_axes(axes, true)?;
            let rstd = var.add_scalar(eps)?.sqrt()?.reciprocal()?;
            let hat = (centred * &rstd)?;
            let along = (&hat * (g * &hat)?.mean_axes(axes, true)?)?;
            let dx = (((g - g.mean_axes(axes, true)?)? - along)? * rstd)?;
            Ok((dx, hat))
        }
        Moments::Given(mean, var) => {
            let rstd = var.clone().add_scalar(eps)?.sqrt()?.reciprocal()?;
            Ok(((g * &rstd)?, ((x - mean)? * rstd)?))
        }
    }
}
