//! Model files with any numbers build or are refused: they do not panic, and take no memory for what they promise.

use proptest::prelude::*;
use rasgo::nn::{Module, ModuleExt};
use rasgo::zoo::{Architecture, summarize};
use rasgo::{DType, Tensor, no_grad};

/// Small numbers, and those at which sums and products break.
fn number() -> impl Strategy<Value = u64> {
    let large = [1 << 16, 1 << 31, (1 << 31) + 1, 1 << 32, 1 << 40, 1 << 62, i64::MAX as u64];
    prop_oneof![6 => 0..8u64, 1 => prop::sample::select(large.to_vec())]
}

fn layer() -> impl Strategy<Value = String> {
    let numbers = (number(), number(), number(), number(), number(), number());
    (0..29usize, numbers).prop_map(|(kind, (a, b, c, d, e, g))| {
        let text = match kind {
            0 | 1 => format!(
                "\"Conv2d\"\nout_channels = {a}\nkernel_size = {b}\nstride = {c}\npadding = {d}\ndilation = {e}\n\
                 groups = {}",
                if g < 6 { 1 } else { g }
            ),
            2 => format!("\"Conv2d\"\nout_channels = {a}\nkernel_size = [{b}, {c}]\npadding = \"same\""),
            3 => format!("\"MaxPool2d\"\nkernel_size = {a}\nstride = {b}\npadding = {c}\nceil_mode = true"),
            4 => format!("\"AvgPool2d\"\nkernel_size = [{a}, {b}]\npadding = {c}"),
            5 => format!("\"AdaptiveAvgPool2d\"\noutput_size = {a}"),
            11 => format!("\"AvgPool2d\"\nkernel_size = {a}\nceil_mode = true\nstride = {b}\ndivisor_override = {c}"),
            12 => format!("\"AdaptiveMaxPool2d\"\noutput_size = [{a}, \"none\"]"),
            13 => format!("\"Unfold\"\nkernel_size = [{a}, {b}]\npadding = {c}\nstride = {d}\ndilation = {e}"),
            14 => format!("\"Fold\"\noutput_size = [{a}, {b}]\nkernel_size = {c}\npadding = {d}\nstride = {e}"),
            6 => format!("\"Linear\"\nout_features = {a}"),
            7 => format!("\"ConnectedConv2d\"\nkernel_size = {a}\nconnections = [[0], [{b}]]"),
            8 => "\"BatchNorm2d\"".to_string(),
            9 => "\"Subsample2d\"".to_string(),
            10 => "\"Flatten\"".to_string(),
            15 => format!(
                "\"ConvTranspose2d\"\nout_channels = {a}\nkernel_size = {b}\nstride = [{c}, 1]\npadding = {d}\n\
                 output_padding = {e}\ngroups = {}",
                if g < 6 { 1 } else { g }
            ),
            16 => format!("\"Upsample\"\nsize = [{a}, {b}]\nmode = \"bilinear\""),
            17 => format!("\"Upsample\"\nscale_factor = {a}.5"),
            18 => format!("\"PixelShuffle\"\nupscale_factor = {a}"),
            19 => format!("\"ReflectionPad2d\"\npadding = [[{}, {}], [0, 1]]", a % (1 << 31), b % (1 << 31)),
            20 => format!("\"GroupNorm\"\nnum_groups = {a}\naffine = {}", b % 2 == 0),
            21 => format!("\"LayerNorm\"\nnormalized_shape = [{a}, {b}]"),
            22 => format!("\"PReLU\"\nnum_parameters = {a}"),
            23 => format!("\"InstanceNorm2d\"\naffine = {0}\ntrack_running_stats = {0}", a % 2 == 0),
            24 => format!("\"BasicBlock\"\nout_channels = {a}\nstride = {b}"),
            25 => format!("\"Bottleneck\"\nout_channels = {a}\nstride = {b}\nname = \"layer{c}.{d}\""),
            26 => format!("\"InvertedResidual\"\nout_channels = {a}\nstride = {b}\nexpand_ratio = {c}"),
            27 => format!("\"Conv2dNormActivation\"\nout_channels = {a}\nkernel_size = {b}\nstride = {c}"),
            _ => "\"ReLU\"".to_string(),
        };
        format!("[[layer]]\ntype = {text}\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_model_file_builds_or_is_refused(
        input in prop::collection::vec(number(), 1..5),
        layers in prop::collection::vec(layer(), 1..6),
        ends in any::<bool>(),
    ) {
        let mut text = format!("input = {input:?}\n{}", layers.concat());
        if ends {
            text += "[[layer]]\ntype = \"Flatten\"\n[[layer]]\ntype = \"Linear\"\n";
        }
        if let Ok(network) = Architecture::from_toml(&text).and_then(|architecture| architecture.build()) {
            let input = network.architecture().input.clone();
            summarize("random", &network, &input).unwrap();
        }
    }
}

/// The running mean of a batch normalisation after batches of ones and of fours.
fn running_mean_of(momentum: &str) -> f32 {
    let text = format!(
        "input = [1, 2, 2]\n[[layer]]\ntype = \"BatchNorm2d\"\n{momentum}\n\
         [[layer]]\ntype = \"Flatten\"\n[[layer]]\ntype = \"Linear\""
    );
    let architecture = Architecture::from_toml(&text).unwrap();
    assert_eq!(Architecture::from_toml(&architecture.to_toml()).unwrap(), architecture);
    let network = architecture.build().unwrap();
    for value in [1.0, 4.0] {
        let x = Tensor::full([2, 1, 2, 2], value, DType::F32).unwrap();
        no_grad(|| network.forward(x)).unwrap();
    }
    let state = network.state_dict();
    let (_, mean) = state.iter().find(|(name, _)| name.ends_with("running_mean")).unwrap();
    mean.to_vec::<f32>().unwrap()[0]
}

#[test]
fn the_momentum_of_a_batch_norm_is_a_share_or_none_for_the_plain_mean() {
    assert!((running_mean_of("") - (0.9 * 0.1 + 0.1 * 4.0)).abs() < 1e-6);
    assert!((running_mean_of("momentum = 0.5") - (0.5 * 0.5 + 0.5 * 4.0)).abs() < 1e-6);
    assert!((running_mean_of("momentum = \"none\"") - 2.5).abs() < 1e-6);
}
