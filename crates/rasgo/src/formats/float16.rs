//! Half precision to f32, exactly.

/// IEEE 754 half precision: 1 sign, 5 exponent (bias 15) and 10 fraction bits. Every value is an f32.
pub(super) fn from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 31;
    let fraction = u32::from(bits & 0x3ff);
    match exponent {
        // A subnormal half is fraction * 2^-24, which is a normal f32; the product is exact.
        0 => f32::from_bits(sign | (fraction as f32 * f32::from_bits((127 - 24) << 23)).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_halves_are_exact() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x3555, 0.333_251_95),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(from_f16(bits), value, "{bits:#06x}");
        }
        assert_eq!(from_f16(0x8000).to_bits(), (-0.0f32).to_bits());
        assert!(from_f16(0x7e00).is_nan() && from_f16(0xfc01).is_nan());
    }

    #[test]
    fn every_half_follows_the_formula() {
        for bits in 0..0x7c00u16 {
            let (exponent, fraction) = (i32::from(bits >> 10), f64::from(bits & 0x3ff));
            let value = if exponent == 0 {
                fraction * 2f64.powi(-24)
            } else {
                (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15)
            };
            assert_eq!(f64::from(from_f16(bits)), value);
            assert_eq!(f64::from(from_f16(bits | 0x8000)), -value);
        }
    }
}
