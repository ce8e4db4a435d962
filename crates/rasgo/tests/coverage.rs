//! What coverage and receptive fields say of a network is what its values show: a pixel is seen if the output changes
//! with it.

use proptest::prelude::*;
use rasgo::nn::{self, Module};
use rasgo::ops::{
    AvgPoolOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions, InterpolateTo,
    MaxPoolOptions, PadMode, UnfoldOptions,
};
use rasgo::reach::{Coverage, Field, fields};
use rasgo::zoo::{Summary, named, summarize};
use rasgo::{DType, Error, Result, Tensor};

/// A layer of random geometry; all weights are 1.
#[derive(Clone, Debug)]
enum Layer {
    Conv {
        kernel: [usize; 3],
        options: ConvOptions,
    },
    ConvTranspose {
        kernel: [usize; 3],
        options: ConvTransposeOptions,
    },
    Max(MaxPoolOptions),
    Avg(AvgPoolOptions),
    Adaptive([usize; 3]),
    Pad(PadMode, [(isize, isize); 3]),
    Interpolate(InterpolateMode, [usize; 3]),
    Flip,
    Narrow(usize, usize),
    /// Beside its first cells.
    Cat(usize),
    CumSum,
    /// Patches as columns, summed by a product.
    Unfold(UnfoldOptions),
    Branches(Vec<Layer>),
}

impl Layer {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let spatial = x.shape().len() - 2;
        let weight = |kernel: &[usize; 3]| {
            let shape: Vec<usize> = [1, 1].into_iter().chain(kernel[3 - spatial..].iter().copied()).collect();
            match x.is_shape_only() {
                true => Ok(Tensor::shape_only(shape, x.dtype())),
                false => Tensor::ones(shape, x.dtype()),
            }
        };
        match self {
            Layer::Conv { kernel, options } => x.conv(&weight(kernel)?, None, options),
            Layer::ConvTranspose { kernel, options } => x.conv_transpose(&weight(kernel)?, None, options),
            // A window in the padding alone has minus infinity, which would hide what is added to it.
            Layer::Max(options) => x.max_pool(options)?.relu(),
            Layer::Avg(options) => x.avg_pool(options),
            Layer::Adaptive(output) => x.adaptive_avg_pool(*output),
            Layer::Pad(mode, pads) => x.pad(&pads[3 - spatial..], *mode),
            Layer::Interpolate(mode, size) => {
                x.interpolate(&InterpolateOptions::new(InterpolateTo::Size(*size), *mode))
            }
            Layer::Flip => x.flip(&[-1]),
            Layer::Narrow(start, length) => x.narrow(-1, *start, *length),
            Layer::Cat(length) => Tensor::cat(&[x.narrow(2, 0, *length)?, x.clone()], 2),
            Layer::CumSum => x.cumsum(-1),
            Layer::Unfold(options) => {
                let columns = x.unfold(options)?;
                let rows = [1, 1, columns.shape()[1]];
                let sum = match x.is_shape_only() {
                    true => Tensor::shape_only(rows, x.dtype()),
                    false => Tensor::ones(rows, x.dtype())?,
                };
                sum.matmul(&columns)
            }
            Layer::Branches(layers) => {
                let mut sum: Option<Tensor> = None;
                for layer in layers {
                    // To one size, so that they can be added.
                    let y = layer.apply(x)?.adaptive_max_pool([2, 3, 2])?;
                    sum = Some(match sum {
                        Some(before) => (before + y)?,
                        None => y,
                    });
                }
                Ok(sum.expect("there are branches"))
            }
        }
    }
}

fn each<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = [T; 3]> {
    [value.clone(), value.clone(), value]
}

fn linear_layer() -> impl Strategy<Value = Layer> {
    let conv = (each(1usize..4), each(1usize..4), each((0usize..3, 0usize..3)), each(1usize..3)).prop_map(
        |(kernel, stride, padding, dilation)| Layer::Conv {
            kernel,
            options: ConvOptions { stride, padding, dilation, ..Default::default() },
        },
    );
    let avg = (each(1usize..4), each(1usize..4), each(0usize..2), any::<bool>()).prop_map(
        |(kernel, stride, padding, ceil_mode)| {
            Layer::Avg(AvgPoolOptions { stride, padding, ceil_mode, ..AvgPoolOptions::new(kernel) })
        },
    );
    prop_oneof![conv, avg, each(1usize..6).prop_map(Layer::Adaptive)]
}

fn layer() -> impl Strategy<Value = Layer> {
    let max = (each(1usize..4), each(1usize..4), each(0usize..2), each(1usize..3), any::<bool>()).prop_map(
        |(kernel, stride, padding, dilation, ceil_mode)| {
            Layer::Max(MaxPoolOptions { kernel, stride, padding, dilation, ceil_mode })
        },
    );
    let transposed = (each(1usize..4), each(1usize..4), each(0usize..2), each(1usize..3)).prop_map(
        |(kernel, stride, padding, dilation)| Layer::ConvTranspose {
            kernel,
            options: ConvTransposeOptions { stride, padding, dilation, ..Default::default() },
        },
    );
    let modes = [PadMode::Constant(0.0), PadMode::Reflect, PadMode::Replicate, PadMode::Circular].map(Just);
    let pad = (proptest::sample::select(modes.map(|mode| mode.0).to_vec()), each((-2isize..3, -2isize..3)))
        .prop_map(|(mode, pads)| Layer::Pad(mode, pads));
    let modes = vec![InterpolateMode::Nearest, InterpolateMode::NearestExact, InterpolateMode::Linear];
    let interpolate = (proptest::sample::select(modes), each(1usize..9))
        .prop_map(|(mode, size)| Layer::Interpolate(mode, size));
    let moved = prop_oneof![
        Just(Layer::Flip),
        (0usize..4, 1usize..5).prop_map(|(start, length)| Layer::Narrow(start, length)),
        (1usize..4).prop_map(Layer::Cat),
        Just(Layer::CumSum),
    ];
    let one = prop_oneof![
        4 => linear_layer(),
        2 => max,
        1 => transposed,
        1 => pad,
        1 => interpolate,
        2 => moved,
    ]
    .boxed();
    let branches = prop::collection::vec(one.clone(), 2..4).prop_map(Layer::Branches);
    prop_oneof![6 => one, 1 => branches]
}

/// Columns have one axis for all places, on which nothing can be told apart any more: they come last.
fn unfold() -> impl Strategy<Value = Layer> {
    (1usize..4, 1usize..4, 1usize..4, 1usize..4, 0usize..2, 1usize..3).prop_map(
        |(kh, kw, sh, sw, padding, dilation)| {
            let (padding, dilation, stride) = ([padding, 0], [1, dilation], [sh, sw]);
            Layer::Unfold(UnfoldOptions { kernel: [kh, kw], padding, dilation, stride })
        },
    )
}

/// The layers that fit one after the other.
fn run(layers: &[Layer], x: &Tensor) -> Tensor {
    layers.iter().fold(x.clone(), |x, layer| layer.apply(&x).unwrap_or(x))
}

fn shape_of(batch: usize, sizes: &[usize]) -> Vec<usize> {
    [batch, 1].into_iter().chain(sizes.iter().copied()).collect()
}

/// The place of each pixel.
fn places(sizes: &[usize]) -> Vec<Vec<usize>> {
    sizes.iter().fold(vec![vec![]], |places, &size| {
        let longer = |place: &Vec<usize>, i| place.iter().copied().chain([i]).collect::<Vec<usize>>();
        places.iter().flat_map(|place| (0..size).map(move |i| longer(place, i))).collect()
    })
}

/// For each pixel the output of a picture in which it alone is 1.
fn responses(layers: &[Layer], sizes: &[usize]) -> Vec<Vec<f64>> {
    let pixels: usize = sizes.iter().product();
    let x = Tensor::eye(pixels).to_dtype(DType::F64).unwrap().reshape(shape_of(pixels, sizes)).unwrap();
    let y = run(layers, &x);
    let outputs = y.shape().elements() / pixels;
    let values = y.to_vec::<f64>().unwrap();
    (0..pixels).map(|pixel| values[pixel * outputs..(pixel + 1) * outputs].to_vec()).collect()
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(1usize..40, 1),
        prop::collection::vec(1usize..12, 2),
        prop::collection::vec(1usize..7, 3),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pixel_is_seen_if_the_output_changes_with_it(
        sizes in sizes(),
        layers in prop::collection::vec(layer(), 1..4),
        last in prop::option::of(unfold()),
    ) {
        let layers: Vec<Layer> = layers.into_iter().chain(last).collect();
        let x = Tensor::shape_only(shape_of(1, &sizes), DType::F64).requires_grad();
        let y = run(&layers, &x);
        let coverage = Coverage::of(&y, &x).unwrap();
        let responses = responses(&layers, &sizes);
        let mut seen = 0;
        for (place, response) in places(&sizes).iter().zip(&responses) {
            let changes = response.iter().any(|&y| y > 0.0);
            prop_assert_eq!(coverage.contains(place), changes, "{:?} {:?}", place, coverage);
            seen += u64::from(changes);
        }
        prop_assert_eq!(coverage.seen(), seen);
        prop_assert_eq!(coverage.total(), responses.len() as u64);
    }

    #[test]
    fn a_pixel_is_seen_if_it_has_a_gradient(
        sizes in sizes(),
        layers in prop::collection::vec(linear_layer(), 1..5),
    ) {
        let x = Tensor::ones(shape_of(2, &sizes), DType::F64).unwrap().requires_grad();
        let y = run(&layers, &x);
        let coverage = Coverage::of(&y, &x).unwrap();
        let grads = y.sum().unwrap().backward().unwrap();
        let dx = grads.get(&x).unwrap().to_vec::<f64>().unwrap();
        for (place, dx) in places(&sizes).iter().zip(dx) {
            prop_assert_eq!(coverage.contains(place), dx > 0.0, "{:?} {:?}", place, coverage);
        }
    }

    #[test]
    fn one_output_depends_on_its_receptive_field(
        length in 1usize..60,
        layers in prop::collection::vec(layer(), 1..4),
    ) {
        let x = Tensor::shape_only([1, 1, length], DType::F64).requires_grad();
        let y = run(&layers, &x);
        let field = fields(&y, &x)[0];
        let responses = responses(&layers, &[length]);
        for o in 0..y.shape()[2] {
            let seen: Vec<usize> = (0..length).filter(|&i| responses[i][o] > 0.0).collect();
            let (Some(first), Some(last)) = (seen.first(), seen.last()) else { continue };
            prop_assert!(last - first < field.size, "output {} sees {:?}, {:?}", o, seen, field);
            if let Field { size, stride: Some(stride), padding: Some(padding) } = field {
                let start = (o * stride) as i64 - padding;
                prop_assert!(*first as i64 >= start && (*last as i64) < start + size as i64, "{:?}", field);
            }
        }
    }

    #[test]
    fn without_padding_the_receptive_field_is_all_that_one_output_depends_on(
        length in 30usize..90,
        geometry in prop::collection::vec((1usize..4, 1usize..3, 1usize..3), 1..4),
    ) {
        let layers: Vec<Layer> = geometry.iter().map(|&(kernel, stride, dilation)| Layer::Conv {
            kernel: [kernel; 3],
            options: ConvOptions { stride: [stride; 3], dilation: [dilation; 3], ..Default::default() },
        }).collect();
        let x = Tensor::shape_only([1, 1, length], DType::F64).requires_grad();
        let field = fields(&run(&layers, &x), &x)[0];
        let (stride, padding) = (field.stride.unwrap(), field.padding.unwrap());
        prop_assert_eq!(padding, 0);
        let responses = responses(&layers, &[length]);
        for o in 0..responses[0].len() {
            let seen: Vec<usize> = (0..length).filter(|&i| responses[i][o] > 0.0).collect();
            prop_assert_eq!((seen[0], seen[seen.len() - 1] + 1), (o * stride, o * stride + field.size));
        }
    }
}

#[test]
fn branches_that_see_crosses_see_no_product() {
    // A row and a column of the picture: the corners are seen by neither.
    let x = Tensor::shape_only([1, 1, 5, 7], DType::F32).requires_grad();
    let conv = |kernel: [usize; 2], padding: [usize; 2]| {
        let w = Tensor::shape_only([1, 1, kernel[0], kernel[1]], DType::F32);
        let padding = [(0, 0), (padding[0], padding[0]), (padding[1], padding[1])];
        x.conv(&w, None, &ConvOptions { stride: [1, 5, 7], padding, ..Default::default() }).unwrap()
    };
    let one = conv([1, 7], [0, 0]);
    let other = conv([5, 1], [0, 0]);
    let sum = (one + other).unwrap();
    let coverage = Coverage::of(&sum, &x).unwrap();
    assert_eq!((coverage.seen(), coverage.is_product()), (5 + 7 - 1, false));
    assert!(coverage.contains(&[0, 6]) && coverage.contains(&[4, 0]) && !coverage.contains(&[4, 6]));
    assert!(coverage.unseen(0).is_empty() && coverage.unseen(1).is_empty());
}

fn conv(x: &Tensor, out: usize, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let w = Tensor::shape_only([out, x.shape()[1], kernel, kernel], DType::F32);
    x.conv(
        &w,
        None,
        &ConvOptions { stride: [stride; 3], padding: [(padding, padding); 3], ..Default::default() },
    )
}

fn max_pool(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let options = MaxPoolOptions::new([kernel; 3]);
    x.max_pool(&MaxPoolOptions { stride: [stride; 3], padding: [padding; 3], ..options })
}

fn field(size: usize, stride: usize, padding: i64) -> Field {
    Field { size, stride: Some(stride), padding: Some(padding) }
}

/// Araujo, Norris, Sim: Computing receptive fields of convolutional neural networks, Distill 2019: VGG-16 has 212, 32
/// and 90, ResNet-50 483, 32 and 239.
#[test]
fn well_known_networks_have_the_receptive_fields_of_the_literature() {
    let x = Tensor::shape_only([1, 3, 224, 224], DType::F32).requires_grad();
    let mut vgg16 = x.clone();
    for (convolutions, channels) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)] {
        for _ in 0..convolutions {
            vgg16 = conv(&vgg16, channels, 3, 1, 1).unwrap().relu().unwrap();
        }
        vgg16 = max_pool(&vgg16, 2, 2, 0).unwrap();
    }
    assert_eq!(fields(&vgg16, &x), [field(212, 32, 90); 2]);
    assert!(Coverage::of(&vgg16, &x).unwrap().is_complete());

    let stem = |x: &Tensor| max_pool(&conv(x, 64, 7, 2, 3)?.relu()?, 3, 2, 1);
    let mut resnet18 = stem(&x).unwrap();
    for (stage, channels) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let y = conv(&resnet18, channels, 3, stride, 1).unwrap().relu().unwrap();
            let y = conv(&y, channels, 3, 1, 1).unwrap();
            let shortcut = match stride {
                1 => resnet18,
                _ => {
                    let shortcut = conv(&resnet18, channels, 1, stride, 0).unwrap();
                    // Alone it would see of 112 cells every second one, and with it what lies around.
                    assert!(fields(&shortcut, &x)[0].size < fields(&y, &x)[0].size);
                    shortcut
                }
            };
            resnet18 = (y + shortcut).unwrap().relu().unwrap();
        }
    }
    assert_eq!(fields(&resnet18, &x), [field(435, 32, 217); 2]);

    let mut resnet50 = stem(&x).unwrap();
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        let width = 64 << stage;
        for block in 0..blocks {
            // As in torchvision, the stride is the 3x3 convolution's.
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let y = conv(&conv(&resnet50, width, 1, 1, 0).unwrap(), width, 3, stride, 1).unwrap();
            let y = conv(&y, 4 * width, 1, 1, 0).unwrap();
            let shortcut =
                if block == 0 { conv(&resnet50, 4 * width, 1, stride, 0).unwrap() } else { resnet50 };
            resnet50 = (y + shortcut).unwrap();
        }
    }
    assert_eq!(fields(&resnet50, &x)[0].stride, Some(32));
    assert_eq!(fields(&resnet50, &x)[0].size, 427, "torchvision's; 483 where the 1x1 convolution strides");
}

fn summary_of(name: &str) -> Summary {
    let architecture = named(name).unwrap().architecture();
    summarize(name, &architecture.build().unwrap(), &architecture.input).unwrap()
}

#[test]
fn the_zoo_has_the_fields_and_the_coverage_of_its_papers() {
    let alexnet = summary_of("alexnet");
    let last = alexnet.layers.iter().rfind(|row| row.path.starts_with("features")).unwrap();
    assert_eq!(last.receptive_field, [195, 195]);
    assert_eq!(last.effective_stride, [Some(32); 2]);
    assert_eq!(last.effective_padding, [Some(2 + 2 * 8 + 3 * 16); 2]);
    assert_eq!(alexnet.layers.last().unwrap().receptive_field, [224, 224]);
    assert!(alexnet.seen.is_complete());

    let lenet = summary_of("lenet5");
    let last = lenet.layers.iter().rfind(|row| row.path.starts_with("backbone")).unwrap();
    assert_eq!((last.receptive_field[0], last.effective_stride[0]), (16, Some(4)));
    assert_eq!(last.effective_padding[0], Some(2));

    // Windows of 5 every 2 pixels reach 27 of 28.
    let small = summary_of("rasgo-small");
    assert_eq!(small.seen.unseen, Some(28 * 28 - 27 * 27));
    assert_eq!(small.seen.unseen_ranges, [vec![[27, 27]], vec![[27, 27]]]);
    assert_eq!(small.seen.unseen_text(), "last row, last column");
    assert_eq!(small.seen.share(), "92.9 %");
    for name in ["mlp", "lecture", "lecun1990", "lenet5"] {
        assert!(summary_of(name).seen.is_complete(), "{name}");
    }
}

fn seen_by(model: impl Module, input: &[usize]) -> (String, String) {
    let seen = summarize("model", &model, input).unwrap().seen;
    (seen.share(), seen.unseen_text())
}

#[test]
fn what_is_dropped_is_said_in_words() {
    let texts = [
        (seen_by(nn::Conv2d::new(1, 1, 3).stride(3), &[1, 10, 11]), "last row, last 2 columns"),
        (seen_by(nn::Conv1d::new(1, 1, 2).stride(4), &[1, 9]), "2 steps between (2-3), last 3 steps"),
        (seen_by(nn::Conv1d::new(2, 1, 1).stride(2), &[2, 9]), "4 steps between (1, 3, 5, …)"),
        (seen_by(nn::MaxPool3d::new([2, 3, 4]), &[1, 3, 3, 6]), "last frame, last 2 columns"),
        (seen_by(nn::Conv2d::new(1, 1, [1, 3]).padding([0, 1]), &[1, 4, 5]), ""),
        (seen_by(nn::Linear::new(4, 2), &[4]), ""),
    ];
    for ((share, text), expected) in &texts {
        assert_eq!(text, expected);
        assert_eq!(share == "100 %", expected.is_empty(), "{share}");
    }
    // A pixel of a million is missing.
    let (share, text) = seen_by(nn::Conv2d::new(1, 1, [1, 3]).stride([1, 3]), &[1, 1, 1_000_003]);
    assert_eq!((&*share, &*text), ("99.9 %", "last column"));
}

#[test]
fn sizes_that_nobody_has_cost_nothing() {
    let long = 1 << 30;
    let wide = summarize("wide", &nn::Conv1d::new(1, 1, 5).stride(3), &[1, long]).unwrap();
    assert_eq!(wide.seen.unseen, Some((long as u64 - 5) % 3));
    // Gaps between windows on a line that long are not listed.
    let gaps = summarize("gaps", &nn::Conv1d::new(1, 1, 2).stride(3), &[1, long]).unwrap();
    assert_eq!((gaps.seen.coverage, &*gaps.seen.share()), (None, "?"));
    assert_eq!(gaps.layers[0].receptive_field, [2]);
}

#[test]
fn tensors_without_records_are_refused() {
    let x = Tensor::shape_only([1, 1, 4], DType::F32);
    let error: Error = Coverage::of(&x, &x).unwrap_err();
    assert!(error.to_string().contains("requires_grad") && error.location().is_some(), "{error}");
    let y = x.requires_grad().relu().unwrap();
    let error = y.backward_with(Tensor::shape_only([1, 1, 4], DType::F32)).unwrap_err();
    assert!(error.to_string().contains("without values"), "{error}");
}
