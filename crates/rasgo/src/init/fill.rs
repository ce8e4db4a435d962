//! Filling a parameter by a description.

use rasgo_core::{Error, Result, Shape};

use super::{FanMode, Init, Nonlinearity};
use crate::nn::Parameter;

/// Fills with zeros.
pub fn zeros_(parameter: &mut Parameter) {
    parameter.init(Init::Zeros);
}

/// Fills with ones.
pub fn ones_(parameter: &mut Parameter) {
    parameter.init(Init::Ones);
}

/// Fills with one value.
pub fn constant_(parameter: &mut Parameter, value: f64) {
    parameter.init(Init::Constant(value));
}

/// Fills uniformly in low..high.
///
/// # Errors
/// If low is above high.
pub fn uniform_(parameter: &mut Parameter, low: f64, high: f64) -> Result<()> {
    // Also refuses a NaN.
    if !(low <= high && (high - low).is_finite()) {
        return Err(Error::argument(format!("uniform in {low}..{high}"))
            .op("uniform_")
            .hint("give two finite numbers, the smaller one first"));
    }
    parameter.init(Init::Uniform(low, high));
    Ok(())
}

/// Fills with normal numbers.
///
/// # Errors
/// If the standard deviation is negative.
pub fn normal_(parameter: &mut Parameter, mean: f64, std: f64) -> Result<()> {
    if std.is_nan() || std < 0.0 {
        return Err(Error::argument(format!("a standard deviation of {std}"))
            .op("normal_")
            .hint("give 0 or more"));
    }
    parameter.init(Init::Normal(mean, std));
    Ok(())
}

/// Fills with normal numbers between a and b. PyTorch's defaults are mean 0, std 1, a -2 and b 2; note that the bounds are
/// values, not deviations.
///
/// # Errors
/// If std is not above 0, or a is not below b.
pub fn trunc_normal_(parameter: &mut Parameter, mean: f64, std: f64, a: f64, b: f64) -> Result<()> {
    if !(std > 0.0 && a < b) {
        return Err(Error::argument(format!("a standard deviation of {std} between {a} and {b}"))
            .op("trunc_normal_")
            .hint("give a deviation above 0, and the smaller bound first"));
    }
    parameter.init(Init::TruncNormal { mean, std, a, b });
    Ok(())
}

/// Fills uniformly in ±gain sqrt(6 / (fan-in + fan-out)) (Glorot and Bengio 2010).
///
/// # Errors
/// If the parameter has fewer than 2 axes.
pub fn xavier_uniform_(parameter: &mut Parameter, gain: f64) -> Result<()> {
    expect_fans("xavier_uniform_", parameter.shape())?;
    parameter.init(Init::XavierUniform { gain });
    Ok(())
}

/// Fills with normal numbers of deviation gain sqrt(2 / (fan-in + fan-out)).
///
/// # Errors
/// If the parameter has fewer than 2 axes.
pub fn xavier_normal_(parameter: &mut Parameter, gain: f64) -> Result<()> {
    expect_fans("xavier_normal_", parameter.shape())?;
    parameter.init(Init::XavierNormal { gain });
    Ok(())
}

/// Fills uniformly in ±gain sqrt(3 / fan) (He et al. 2015). PyTorch's `a` is the slope of
/// [`Nonlinearity::LeakyRelu`], 0 by default.
///
/// # Errors
/// If the parameter has fewer than 2 axes.
pub fn kaiming_uniform_(parameter: &mut Parameter, nonlinearity: Nonlinearity, mode: FanMode) -> Result<()> {
    expect_fans("kaiming_uniform_", parameter.shape())?;
    parameter.init(Init::KaimingUniform { nonlinearity, mode });
    Ok(())
}

/// Fills with normal numbers of deviation gain / sqrt(fan).
///
/// # Errors
/// If the parameter has fewer than 2 axes.
pub fn kaiming_normal_(parameter: &mut Parameter, nonlinearity: Nonlinearity, mode: FanMode) -> Result<()> {
    expect_fans("kaiming_normal_", parameter.shape())?;
    parameter.init(Init::KaimingNormal { nonlinearity, mode });
    Ok(())
}

fn expect_fans(op: &'static str, shape: &Shape) -> Result<()> {
    if shape.len() >= 2 {
        return Ok(());
    }
    Err(Error::shape(format!(
        "fan-in and fan-out of a parameter of shape {shape}, which has fewer than 2 axes"
    ))
    .op(op)
    .hint("fill it with normal_, uniform_ or zeros_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_follows_from_the_parameter_and_not_from_the_order_of_reading() {
        let fill = |read_first: bool| {
            rasgo_core::random::manual_seed(5);
            let mut all = [Parameter::new([4, 3], Init::Zeros), Parameter::new([4, 3], Init::Ones)];
            for parameter in &mut all {
                if read_first {
                    parameter.tensor();
                }
                normal_(parameter, 1.0, 0.5).unwrap();
            }
            let order = if read_first { [1, 0] } else { [0, 1] };
            let mut values = order.map(|i| all[i].tensor().to_vec::<f32>().unwrap());
            if read_first {
                values.reverse();
            }
            values
        };
        assert_eq!(fill(false), fill(true));
        assert_ne!(fill(false)[0], fill(false)[1]);
    }

    #[test]
    fn what_cannot_be_filled_is_refused() {
        let mut vector = Parameter::new([4], Init::Ones);
        let refused = |result: Result<()>, part: &str| {
            let text = result.unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        };
        refused(xavier_uniform_(&mut vector, 1.0), "[4], which has fewer than 2 axes");
        refused(xavier_normal_(&mut vector, 1.0), "xavier_normal_");
        refused(kaiming_uniform_(&mut vector, Nonlinearity::Relu, FanMode::FanIn), "fewer than 2");
        refused(kaiming_normal_(&mut vector, Nonlinearity::Relu, FanMode::FanIn), "fewer than 2");
        refused(uniform_(&mut vector, 1.0, 0.0), "uniform in 1..0");
        refused(normal_(&mut vector, 0.0, -1.0), "deviation of -1");
        refused(normal_(&mut vector, 0.0, f64::NAN), "deviation of NaN");
        refused(trunc_normal_(&mut vector, 0.0, 1.0, 2.0, -2.0), "between 2 and -2");
        assert_eq!(vector.tensor().to_vec::<f32>().unwrap(), [1.0; 4]);
        zeros_(&mut vector);
        assert_eq!(vector.tensor().to_vec::<f32>().unwrap(), [0.0; 4]);
        constant_(&mut vector, 0.3);
        assert_eq!(vector.tensor().to_vec::<f32>().unwrap(), [0.3; 4]);
    }
}
