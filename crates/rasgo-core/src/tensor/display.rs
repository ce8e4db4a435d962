//! Printing as PyTorch prints.

use std::fmt;

use super::Tensor;

/// More elements than this are cut to the first and last of each axis.
const MOST: usize = 1000;
/// How many are shown at each end of a cut axis.
const EDGE: usize = 3;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_shape_only() {
            return write!(f, "tensor(shape={}, dtype={}, no values)", self.shape(), self.dtype());
        }
        let values = self.to_f64_vec().map_err(|_| fmt::Error)?;
        let style = Style::of(&values, self.dtype().is_float());
        f.write_str("tensor(")?;
        let cut = values.len() > MOST;
        write_axis(f, &values, self.shape(), &style, 7, cut)?;
        if !matches!(self.dtype(), crate::DType::F32 | crate::DType::I64) {
            write!(f, ", dtype=torch.{}", self.dtype())?;
        }
        f.write_str(")")
    }
}

/// How the numbers of one tensor look: all the same.
struct Style {
    width: usize,
    kind: Kind,
}

enum Kind {
    Whole,
    WholeFloat,
    Fixed,
    Scientific,
}

impl Style {
    fn of(values: &[f64], float: bool) -> Style {
        let finite: Vec<f64> =
            values.iter().copied().filter(|x| x.is_finite() && *x != 0.0).map(f64::abs).collect();
        let largest = finite.iter().copied().fold(0.0, f64::max);
        let smallest = finite.iter().copied().fold(f64::INFINITY, f64::min);
        let kind = if !float {
            Kind::Whole
        } else if finite.iter().all(|x| x.fract() == 0.0) {
            if largest > 1e8 { Kind::Scientific } else { Kind::WholeFloat }
        } else if largest / smallest > 1000.0 || largest > 1e8 || smallest < 1e-4 {
            Kind::Scientific
        } else {
            Kind::Fixed
        };
        let mut style = Style { width: 0, kind };
        style.width = values.iter().map(|&x| style.text(x).len()).max().unwrap_or(0);
        style
    }

    fn text(&self, x: f64) -> String {
        if x.is_nan() {
            return "nan".to_string();
        }
        if x.is_infinite() {
            return if x > 0.0 { "inf" } else { "-inf" }.to_string();
        }
        match self.kind {
            Kind::Whole => format!("{x:.0}"),
            Kind::WholeFloat => format!("{x:.0}."),
            Kind::Fixed => format!("{x:.4}"),
            Kind::Scientific => {
                let text = format!("{x:.4e}");
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or(0);
                format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
            }
        }
    }
}

/// Columns of a line.
const LINE: usize = 80;

fn write_axis(
    f: &mut fmt::Formatter<'_>,
    values: &[f64],
    shape: &[usize],
    style: &Style,
    indent: usize,
    cut: bool,
) -> fmt::Result {
    let Some((&size, inner)) = shape.split_first() else {
        return f.write_str(&style.text(values[0]));
    };
    let shown: Vec<Option<usize>> = if cut && size > 2 * EDGE {
        (0..EDGE).map(Some).chain([None]).chain((size - EDGE..size).map(Some)).collect()
    } else {
        (0..size).map(Some).collect()
    };
    f.write_str("[")?;
    if inner.is_empty() {
        let per_line = (LINE.saturating_sub(indent) / (style.width + 2)).max(1);
        for (position, i) in shown.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
                if position.is_multiple_of(per_line) {
                    write!(f, "\n{:indent$} ", "")?;
                } else {
                    f.write_str(" ")?;
                }
            }
            match i {
                Some(i) => write!(f, "{:>width$}", style.text(values[*i]), width = style.width)?,
                None => f.write_str("...")?,
            }
        }
        return f.write_str("]");
    }
    let step: usize = inner.iter().product();
    for (position, i) in shown.iter().enumerate() {
        if position > 0 {
            write!(f, ",{}{:indent$} ", "\n".repeat(inner.len()), "")?;
        }
        match i {
            Some(i) => write_axis(f, &values[i * step..(i + 1) * step], inner, style, indent + 1, cut)?,
            None => f.write_str("...")?,
        }
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use crate::Tensor;

    #[test]
    fn tensors_print_as_in_pytorch() {
        let whole = Tensor::from_vec(vec![5.0f32, -1.0, 6.0, 10.0], [2, 2]).unwrap();
        assert_eq!(whole.to_string(), "tensor([[ 5., -1.],\n        [ 6., 10.]])");
        let parts = Tensor::from_vec(vec![0.5f32, 1.25], [2]).unwrap();
        assert_eq!(parts.to_string(), "tensor([0.5000, 1.2500])");
        assert_eq!(Tensor::scalar(3i64).to_string(), "tensor(3)");
        let wide = Tensor::from_vec(vec![1e-5f32, 1.5], [2]).unwrap();
        assert_eq!(wide.to_string(), "tensor([1.0000e-05, 1.5000e+00])");
        assert!(Tensor::arange(0.0, 2000.0, 1.0).unwrap().to_string().contains("..."));
    }
}
