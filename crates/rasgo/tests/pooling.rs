//! Layers of pooling, unpooling and unfolding, and their tables in model files.

use rasgo::prelude::*;
use rasgo::zoo::{Architecture, summarize};

fn values(x: &Tensor) -> Vec<f64> {
    x.to_f64_vec().unwrap()
}

fn ramp(shape: &[usize]) -> Tensor {
    let elements: usize = shape.iter().product();
    Tensor::from_vec((0..elements).map(|i| (i * 37 % 23) as f32 - 11.0).collect(), shape).unwrap()
}

#[test]
fn layers_give_the_indices_of_their_maxima_and_unpooling_takes_them_back() {
    let x = ramp(&[2, 3, 5, 7]);
    let pool = nn::MaxPool2d::new([3, 2]).stride([2, 3]).padding([1, 0]);
    let (y, indices) = pool.forward_with_indices(x.clone()).unwrap();
    assert_eq!(values(&pool.forward(x.clone()).unwrap()), values(&y));
    let unpool = nn::MaxUnpool2d::new([3, 2]).stride([2, 3]).padding([1, 0]);
    let back = unpool.forward_to(&y, &indices, [5, 7]).unwrap();
    assert_eq!(back.shape(), x.shape());
    let again = pool.forward(back).unwrap();
    // Where all of a window is negative, the zeros around a maximum win over it.
    assert!(values(&again).iter().zip(values(&y)).all(|(again, y)| *again == y.max(0.0)));
    let adaptive = nn::AdaptiveMaxPool2d::new([Some(2), None]);
    let (y, indices) = adaptive.forward_with_indices(x.clone()).unwrap();
    assert_eq!((&**y.shape(), &**indices.shape()), (&[2, 3, 2, 7][..], &[2, 3, 2, 7][..]));
    assert_eq!(values(&adaptive.forward(x).unwrap()), values(&y));
}

#[test]
fn a_layer_of_two_dimensions_refuses_maps_of_one_and_says_which_layer_it_is() {
    let x = Tensor::rand([2, 3, 8]);
    let results = [
        nn::MaxPool2d::new(2).forward(x.clone()),
        nn::AvgPool2d::new(2).forward(x.clone()),
        nn::AdaptiveAvgPool2d::new(2).forward(x.clone()),
        nn::AdaptiveMaxPool2d::new(2).forward(x.clone()),
        nn::MaxPool2d::new(2).forward_with_indices(x.clone()).map(|(y, _)| y),
        nn::MaxUnpool2d::new(2).forward(&x, &x),
    ];
    for result in results {
        let text = result.unwrap_err().to_string();
        assert!(text.contains("Pool2d#") || text.contains("MaxUnpool2d#"), "{text}");
        assert!(text.contains("input [2, 3, 8] has 3 axes, not 4; give (N, C, H, W)"), "{text}");
        assert!(text.contains("pooling.rs"), "{text}");
    }
}

#[test]
fn windows_of_any_size_pool_after_a_normalisation() {
    let block = |pool| nn::Sequential::new().add(nn::BatchNorm2d::new(2)).add(nn::ReLU()).add(pool);
    let x = ramp(&[2, 2, 34, 40]);
    let y = block(nn::MaxPool2d::new([17, 20])).forward(x.clone()).unwrap();
    assert_eq!(**y.shape(), [2, 2, 2, 2]);
    let (norm, relu) = (nn::BatchNorm2d::new(2), nn::ReLU());
    let apart =
        nn::MaxPool2d::new([17, 20]).forward(relu.forward(norm.forward(x).unwrap()).unwrap()).unwrap();
    assert_eq!(values(&y), values(&apart));
}

/// What the last of the layers gives for one input of 3x9x11.
fn shape_after(layers: &str) -> Result<Vec<usize>> {
    let end = "[[layer]]\ntype = \"Flatten\"\n[[layer]]\ntype = \"Linear\"\n";
    let network = Architecture::from_toml(&format!("input = [3, 9, 11]\n{layers}{end}"))?.build()?;
    let rows = summarize("pools", &network, &[3, 9, 11])?.layers;
    Ok(rows[rows.len() - 3].output.clone())
}

#[test]
fn model_files_take_every_option_of_a_pooling() {
    for (layer, shape) in [
        (
            "MaxPool2d\"\nkernel_size = [3, 2]\nstride = [2, 3]\npadding = [1, 0]\ndilation = [1, 2]\nceil_mode = true",
            vec![3, 5, 4],
        ),
        (
            "AvgPool2d\"\nkernel_size = 2\nceil_mode = true\ncount_include_pad = false\ndivisor_override = 3",
            vec![3, 5, 6],
        ),
        ("AdaptiveAvgPool2d\"\noutput_size = [\"none\", 4]", vec![3, 9, 4]),
        ("AdaptiveMaxPool2d\"\noutput_size = \"none\"", vec![3, 9, 11]),
    ] {
        assert_eq!(shape_after(&format!("[[layer]]\ntype = \"{layer}\n")).unwrap(), shape, "{layer}");
    }
    let unfold = "[[layer]]\ntype = \"Unfold\"\nkernel_size = [2, 3]\nstride = 2\npadding = [0, 1]\n";
    assert_eq!(shape_after(unfold).unwrap(), [18, 24]);
    let fold = "[[layer]]\ntype = \"Fold\"\noutput_size = [9, 11]\nkernel_size = [2, 3]\nstride = 2\npadding = [0, 1]\n";
    let after = shape_after(&format!("{unfold}{fold}"));
    assert_eq!(after.unwrap(), [3, 9, 11]);
}

#[test]
fn model_files_refuse_options_that_a_pooling_does_not_have() {
    for (layer, says) in [
        ("AvgPool2d\"\nkernel_size = 2\ndilation = 2", "(AvgPool2d): there is no option dilation"),
        (
            "MaxPool2d\"\nkernel_size = 2\ncount_include_pad = true",
            "(MaxPool2d): there is no option count_include_pad",
        ),
        ("AdaptiveAvgPool2d\"\noutput_size = [1, 2, 3]", "output_size has 3 values for 2 axes"),
        ("AdaptiveAvgPool2d\"\noutput_size = \"all\"", "output_size = \"all\": give a whole number"),
        ("AvgPool2d\"\nkernel_size = 2\ndivisor_override = 0", "divisor_override 0"),
    ] {
        let text = shape_after(&format!("[[layer]]\ntype = \"{layer}\n")).unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    }
}
