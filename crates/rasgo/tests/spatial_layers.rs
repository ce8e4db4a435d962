//! Layers that pad, convolve the other way round and resize: PyTorch's numbers, names, and tables in model files.

use rasgo::ops::{InterpolateMode, PadMode};
use rasgo::prelude::*;
use rasgo::zoo::{Architecture, summarize};

/// -3/4, -1/2, … 3/4 again and again.
fn fill(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| ((i % 7) as f32 - 3.0) / 4.0).collect();
    Tensor::from_vec(values, shape).unwrap()
}

#[track_caller]
fn assert_near(got: &Tensor, want: &[f32]) {
    let got = got.to_vec::<f32>().unwrap();
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4), "{got:?}, not {want:?}");
}

/// From PyTorch 2: torch.nn.Conv2d(1, 1, (2, 3), padding="same", padding_mode=…) and Conv1d(1, 1, 3, stride=2, padding=2).
#[test]
fn a_convolution_pads_by_its_mode_also_with_same() {
    let cases: [(&str, [f32; 6], [f32; 3]); 4] = [
        ("zeros", [1.125, 1.6875, 1.125, 0.4375, 0.25, 0.0625], [0.6875, 1.375, 0.6875]),
        ("reflect", [1.5, 1.6875, 1.375, -0.1875, 0.0, -0.3125], [1.125, 1.375, 0.75]),
        ("replicate", [1.6875, 1.6875, 1.4375, 0.5625, 0.5625, 0.3125], [1.625, 1.375, 0.6875]),
        ("circular", [1.3125, 1.6875, 1.3125, -0.375, 0.0, -0.375], [0.875, 1.375, 0.875]),
    ];
    for (name, same, strided) in cases {
        let mode = PadMode::named(name, 0.0).unwrap();
        let mut conv = nn::Conv2d::new(1, 1, [2, 3]).padding(nn::Padding::Same).padding_mode(mode);
        conv.weight.set(fill(&[1, 1, 2, 3])).unwrap();
        conv.bias.as_mut().unwrap().set(Tensor::full([1], 0.5, DType::F32).unwrap()).unwrap();
        assert_near(&conv.forward(fill(&[1, 1, 2, 3])).unwrap(), &same);
        let mut conv = nn::Conv1d::new(1, 1, 3).stride(2).padding(2).padding_mode(mode);
        conv.weight.set(fill(&[1, 1, 3])).unwrap();
        conv.bias.as_mut().unwrap().set(Tensor::full([1], 0.5, DType::F32).unwrap()).unwrap();
        assert_near(&conv.forward(fill(&[1, 1, 4])).unwrap(), &strided);
    }
}

#[test]
fn a_convolution_pads_each_side_by_its_own_number() {
    let conv = nn::Conv2d::new(2, 3, [2, 3]).padding([(0, 2), (3, 1)]);
    assert_eq!(**conv.forward(Tensor::rand([1, 2, 4, 5])).unwrap().shape(), [1, 3, 5, 7]);
}

#[test]
fn same_with_a_stride_is_refused_by_the_layer_with_the_programs_line() {
    let conv = nn::Conv2d::new(2, 3, 3).padding(nn::Padding::Same).stride([1, 2]);
    let text = conv.forward(Tensor::rand([1, 2, 4, 5])).unwrap_err().to_string();
    assert!(text.contains("stride [1, 2]") && text.contains("needs stride 1"), "{text}");
    assert!(text.contains("spatial_layers.rs"), "{text}");
}

/// From PyTorch 2: torch.nn.ConvTranspose2d(2, 4, (2, 3), stride=(2, 1), groups=2, padding=(0, 1), output_padding=(1, 0)).
#[test]
fn a_transposed_convolution_has_pytorchs_names_and_numbers() {
    let mut layer = nn::ConvTranspose2d::new(2, 4, [2, 3])
        .stride([2, 1])
        .groups(2)
        .padding([0, 1])
        .output_padding([1, 0]);
    let names: Vec<(String, Vec<usize>)> =
        layer.state_dict().into_iter().map(|(name, x)| (name, x.shape().to_vec())).collect();
    assert_eq!(names, [("weight".to_string(), vec![2, 2, 2, 3]), ("bias".to_string(), vec![4])]);
    layer.weight.set(fill(&[2, 2, 2, 3])).unwrap();
    layer.bias.as_mut().unwrap().set(fill(&[4])).unwrap();
    let want = [
        0.0, -0.3125, -0.9375, -1.25, -0.625, -0.6875, -0.8125, -0.875, -0.75, -0.75, -0.3125, 0.25, -0.375,
        -0.6875, -0.3125, -0.375, -0.5, -0.5625, -0.5, -0.5, 0.1875, -0.0625, -0.5625, -0.375, -0.0625,
        -1.375, -0.0625, -0.0625, -0.25, -0.25, 0.25, 0.4375, -0.5, -0.3125, 0.1875, 0.1875, 0.1875, 0.1875,
        0.0, 0.0,
    ];
    assert_near(&layer.forward(fill(&[1, 2, 2, 2])).unwrap(), &want);
    // PyTorch takes the fan of the weight as it lies: out / groups times the kernel.
    let wide = nn::ConvTranspose2d::new(2, 400, [2, 3]).weight.tensor().to_f64_vec().unwrap();
    let deviation = (wide.iter().map(|x| x * x).sum::<f64>() / wide.len() as f64).sqrt();
    assert!((deviation * (3.0f64 * 400.0 * 6.0).sqrt() - 1.0).abs() < 0.03, "{deviation}");
}

#[test]
fn a_transposed_convolution_comes_to_the_size_that_is_asked_for_or_says_which_there_are() {
    let layer = nn::ConvTranspose1d::new(3, 2, 4).stride(3).padding(1).dilation(2);
    for size in [17, 18, 19] {
        let y = layer.forward_to_size(Tensor::rand([2, 3, 5]), size).unwrap();
        assert_eq!(**y.shape(), [2, 2, size]);
    }
    let text = layer.forward_to_size(Tensor::rand([2, 3, 5]), 20).unwrap_err().to_string();
    assert!(text.contains("= 17 to 19 can be") && text.contains("spatial_layers.rs"), "{text}");
}

#[test]
fn every_padding_layer_pads_by_its_mode() {
    let x = fill(&[1, 1, 2, 3]);
    let sides = [(1, 0), (0, 2)];
    let layers: Vec<(Box<dyn Module>, PadMode)> = vec![
        (Box::new(nn::ZeroPad2d::new(sides)), PadMode::Constant(0.0)),
        (Box::new(nn::ConstantPad2d::new(sides, 2.5)), PadMode::Constant(2.5)),
        (Box::new(nn::ReflectionPad2d::new(sides)), PadMode::Reflect),
        (Box::new(nn::ReplicationPad2d::new(sides)), PadMode::Replicate),
        (Box::new(nn::CircularPad2d::new(sides)), PadMode::Circular),
    ];
    for (layer, mode) in layers {
        let want = x.pad(&sides, mode).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(layer.forward(x.clone()).unwrap().to_vec::<f32>().unwrap(), want);
        let text = layer.forward(Tensor::rand([1, 2, 3])).unwrap_err().to_string();
        assert!(text.contains("not 4") && text.contains("(N, C, H, W)"), "{text}");
    }
    assert_eq!(**nn::ZeroPad1d::new(-1).forward(Tensor::rand([1, 2, 6])).unwrap().shape(), [1, 2, 4]);
}

#[test]
fn the_layers_of_a_model_file_come_back_to_the_size_of_its_input() {
    let text = r#"
        input = [1, 12, 16]
        [[layer]]
        type = "Conv2d"
        out_channels = 8
        kernel_size = 3
        stride = 2
        padding = [[1, 0], [1, 1]]
        padding_mode = "reflect"
        [[layer]]
        type = "PixelUnshuffle"
        downscale_factor = 2
        [[layer]]
        type = "PixelShuffle"
        upscale_factor = 2
        [[layer]]
        type = "Upsample"
        scale_factor = [1.0, 0.5]
        mode = "bilinear"
        align_corners = true
        [[layer]]
        type = "Upsample"
        size = [6, 8]
        [[layer]]
        type = "ReplicationPad2d"
        padding = [[1, -1], [0, 0]]
        [[layer]]
        type = "ConvTranspose2d"
        out_channels = 1
        kernel_size = [4, 3]
        stride = 2
        padding = 1
        output_padding = [0, 1]
        [[layer]]
        type = "Flatten"
        [[layer]]
        type = "Linear"
    "#;
    let network = Architecture::from_toml(text).unwrap().build().unwrap();
    assert_eq!(**network.forward(Tensor::rand([2, 1, 12, 16])).unwrap().shape(), [2, 10]);
    let layers = summarize("test", &network, &[1, 12, 16]).unwrap().layers;
    assert_eq!(layers[6].output, [1, 12, 16]);
    let again = Architecture::from_toml(&network.architecture().to_toml()).unwrap();
    assert_eq!(&again, network.architecture());
    let with = |from: &str, to: &str| {
        let text = text.replace(from, to);
        Architecture::from_toml(&text).and_then(|architecture| architecture.build()).unwrap_err().to_string()
    };
    assert!(with("\"bilinear\"", "\"linear\"").contains("1 spatial axes, not 2"));
    assert!(with("\"bilinear\"", "\"area\"").contains("align_corners"));
    assert!(with("\"reflect\"", "\"mirror\"").contains("padding mode \"mirror\""));
    assert!(with("[[1, 0], [1, 1]]", "[[1, 0]]").contains("padding has 1 values for 2 axes"));
    assert!(with("output_padding = [0, 1]", "output_padding = 2").contains("output_padding 2"));
}

#[test]
fn an_upsampling_takes_its_own_number_of_axes_and_any_mode() {
    let up = nn::Upsample3d::by_factors([1.0, 2.0, 1.5]).mode(InterpolateMode::Linear).align_corners(true);
    assert_eq!(**up.forward(Tensor::rand([1, 2, 3, 4, 6])).unwrap().shape(), [1, 2, 3, 8, 9]);
    let text = up.forward(Tensor::rand([1, 2, 3, 4])).unwrap_err().to_string();
    assert!(text.contains("interpolate") && text.contains("not 5"), "{text}");
}
