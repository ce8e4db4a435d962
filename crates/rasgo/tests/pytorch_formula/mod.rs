//! The weights and inputs of the golden logits, bit for bit those of `golden/pytorch_round_trip.py`.

use std::collections::BTreeMap;

use rasgo::Tensor;

/// What PyTorch said of a model.
#[derive(serde::Deserialize)]
pub(crate) struct Golden {
    pub(crate) input: Vec<usize>,
    pub(crate) state: BTreeMap<String, Vec<usize>>,
    #[serde(flatten)]
    pub(crate) evaluated: Answer,
    /// Of models with batch normalisation, the first 16 logits of each input in a training forward without dropout, and
    /// then in evaluation.
    pub(crate) trained: Vec<Answer>,
}

/// Logits in double precision, and how far PyTorch's in single precision are from them.
#[derive(serde::Deserialize)]
pub(crate) struct Answer {
    pub(crate) logits: Vec<f32>,
    #[allow(dead_code, reason = "some tests compare to the bit")]
    pub(crate) rounding: f32,
}

/// The golden file, by model.
pub(crate) fn golden() -> BTreeMap<String, Golden> {
    serde_json::from_str(include_str!("../golden/pytorch_logits.json")).unwrap()
}

/// The weights of a model, under PyTorch's names.
pub(crate) fn weights(model: &str, golden: &Golden) -> Vec<(String, Tensor)> {
    let tensor = |(name, shape): (&String, &Vec<usize>)| (name.clone(), tensor(model, name, shape));
    golden.state.iter().map(tensor).collect()
}

/// A tensor by the formula: a hash of its name and of each place, as a fraction that f32 holds exactly.
pub(crate) fn tensor(model: &str, name: &str, shape: &[usize]) -> Tensor {
    let start = key(&format!("{model}/{name}"));
    if name.ends_with("num_batches_tracked") {
        return Tensor::scalar(1 + number(start, 0) as i64);
    }
    let (centre, scale) = centre_and_scale(name, shape);
    Tensor::from_fn(shape.to_vec(), |values: &mut [f32]| {
        for (i, value) in values.iter_mut().enumerate() {
            let unit = (number(start, i as u64) as f32 - (1 << 19) as f32) / (1 << 19) as f32;
            *value = centre + scale * unit;
        }
    })
}

/// FNV-1a.
fn key(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// The number at place `i` of splitmix64's sequence, its upper 20 bits.
fn number(start: u64, i: u64) -> u64 {
    let z = start.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) >> 44
}

/// Values fill centre ± scale.
fn centre_and_scale(name: &str, shape: &[usize]) -> (f32, f32) {
    if name == "input" {
        return (0.0, 1.0);
    }
    if name.ends_with("running_var") || (name.ends_with("weight") && shape.len() == 1) {
        return (1.0, 0.5);
    }
    if shape.len() == 1 {
        return (0.0, 0.25);
    }
    let fan_in = shape[1..].iter().product::<usize>() as f32;
    let mut scale = 1.0;
    while fan_in * scale * scale > 12.0 {
        scale /= 2.0;
    }
    (0.0, scale)
}
