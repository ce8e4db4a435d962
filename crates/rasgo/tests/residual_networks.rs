//! Networks of blocks with shortcuts: names, model files, summaries, other numbers of classes.

use rasgo::nn::{self, Module, ModuleExt};
use rasgo::zoo::{self, Architecture, Network, summarize};
use rasgo::{Tensor, no_grad, observe, random};

fn network(name: &str) -> Network {
    zoo::named(name).unwrap().architecture().build().unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec().unwrap()
}

fn error(layers: &str) -> String {
    let text =
        format!("input = [8, 9, 7]\nlayer = [{layers}, {{ type = \"Flatten\" }}, {{ type = \"Linear\" }}]");
    Architecture::from_toml(&text).and_then(|architecture| architecture.build()).unwrap_err().to_string()
}

#[test]
fn every_model_of_the_zoo_is_the_same_after_it_was_a_model_file() {
    for model in zoo::models() {
        let architecture = model.architecture();
        let again = Architecture::from_toml(&architecture.to_toml()).unwrap();
        assert_eq!(again, architecture, "{}", model.name);
    }
    let text = zoo::named("resnet18").unwrap().architecture().to_toml();
    let block = "[[backbone]]\nname = \"layer2.0\"\ntype = \"BasicBlock\"\nout_channels = 128\nstride = 2\n";
    assert!(text.contains(block) && text.contains("conv = \"kaiming_normal\""), "{text}");
}

#[test]
fn layers_and_blocks_have_the_names_of_torchvision_in_weights_and_summaries() {
    let resnet = network("resnet18");
    let names: Vec<String> = resnet.state_dict().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["conv1.weight", "bn1.weight"]);
    assert_eq!(names[names.len() - 2..], ["fc.weight", "fc.bias"]);
    let summary = summarize("resnet18", &resnet, &[3, 224, 224]).unwrap();
    let rows: Vec<(&str, &str)> =
        summary.layers.iter().map(|row| (row.path.as_str(), row.kind.as_str())).collect();
    let block =
        |at: usize| rows[at..].iter().take_while(|row| row.1 != "BasicBlock").copied().collect::<Vec<_>>();
    assert_eq!(
        block(4),
        [
            ("layer1.0.conv1", "Conv2d"),
            ("layer1.0.bn1", "BatchNorm2d"),
            ("layer1.0.relu", "ReLU"),
            ("layer1.0.conv2", "Conv2d"),
            ("layer1.0.bn2", "BatchNorm2d"),
        ]
    );
    assert!(
        rows.contains(&("layer1.0", "BasicBlock"))
            && rows.contains(&("layer2.0.downsample.1", "BatchNorm2d"))
    );
    let mobile: Vec<String> =
        network("mobilenet_v2").state_dict().into_iter().map(|(name, _)| name).collect();
    for name in
        ["features.0.0.weight", "features.1.conv.1.weight", "features.18.1.bias", "classifier.1.weight"]
    {
        assert!(mobile.iter().any(|found| found == name), "{name}");
    }
}

#[test]
fn a_summary_sees_through_both_branches_of_a_block() {
    let summary = summarize("resnet18", &network("resnet18"), &[3, 224, 224]).unwrap();
    let row = |path: &str| summary.layers.iter().find(|row| row.path == path).unwrap();
    // As published for the last block without the ends of the image: 435 pixels every 32.
    assert_eq!(row("layer1.1").receptive_field, [43, 43]);
    assert_eq!(row("layer2.0.downsample.0").receptive_field, [43, 43]);
    assert_eq!(row("layer2.0").receptive_field, [67, 67]);
    assert_eq!(row("layer2.0").effective_stride, [Some(8), Some(8)]);
    assert_eq!(row("layer4.1").effective_stride, [Some(32), Some(32)]);
    assert!(summary.seen.is_complete());
    let mobile = summarize("mobilenet_v2", &network("mobilenet_v2"), &[3, 224, 224]).unwrap();
    assert!(mobile.layers.iter().any(|row| row.path == "features.17.conv.3" && row.output == [320, 7, 7]));
    assert!(mobile.seen.is_complete());
}

#[test]
fn another_number_of_classes_replaces_the_last_layer_alone() {
    for (name, last) in [("resnet18-cifar", "fc."), ("mobilenet_v2", "classifier.1.")] {
        let before = network(name);
        let old = before.state_dict();
        let after = before.with_classes(7).unwrap();
        assert_eq!(after.classes(), 7);
        for ((name, old), (same, new)) in old.iter().zip(after.state_dict()) {
            assert_eq!(*name, same);
            if name.starts_with(last) {
                assert_eq!(new.shape()[0], 7, "{name}");
            } else {
                assert_eq!(old.to_f64_vec().unwrap(), new.to_f64_vec().unwrap(), "{name}");
            }
        }
    }
}

#[test]
fn first_weights_are_drawn_as_in_torchvision() {
    let deviation = |network: &Network, wanted: &str| {
        let state = network.state_dict();
        let all = values(&state.iter().find(|(name, _)| name == wanted).unwrap().1);
        (all.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / all.len() as f64).sqrt()
    };
    random::manual_seed(5);
    let (resnet, mobile) = (network("resnet18"), network("mobilenet_v2"));
    for (network, name, expected) in [
        (&resnet, "layer2.0.conv1.weight", (2.0 / (128.0 * 9.0f64)).sqrt()),
        (&resnet, "layer2.0.downsample.0.weight", (2.0 / 128.0f64).sqrt()),
        // A linear layer's default: uniform in ±1 / sqrt(512).
        (&resnet, "fc.weight", 1.0 / (3.0 * 512.0f64).sqrt()),
        (&mobile, "features.4.conv.1.0.weight", (2.0 / (144.0 * 9.0f64)).sqrt()),
        (&mobile, "classifier.1.weight", 0.01),
    ] {
        let found = deviation(network, name);
        assert!((found / expected - 1.0).abs() < 0.05, "{name}: {found}, not {expected}");
    }
    assert_eq!(deviation(&mobile, "classifier.1.bias"), 0.0);
    assert!(deviation(&resnet, "fc.bias") > 0.0);
    assert_eq!(deviation(&resnet, "layer3.1.bn2.weight"), 1.0);
}

#[test]
fn a_block_is_the_same_in_composites_as_layer_by_layer() {
    let blocks: [Box<dyn Module>; 5] = [
        Box::new(nn::BasicBlock::new(8, 8, 1)),
        Box::new(nn::BasicBlock::new(8, 12, 2)),
        Box::new(nn::Bottleneck::new(8, 16, 2)),
        Box::new(nn::InvertedResidual::new(8, 8, 1, 6)),
        Box::new(nn::InvertedResidual::new(8, 5, 2, 1)),
    ];
    for block in blocks {
        let x = Tensor::randn([3, 8, 9, 7]).to_channels_last();
        let (alone, events) = no_grad(|| observe(|| block.forward(x.clone()).unwrap()));
        assert!(events.len() > 5);
        let together = no_grad(|| block.forward(x).unwrap());
        let pairs = values(&alone).into_iter().zip(values(&together));
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-5 * a.abs().max(1.0), "{block:?}: {a} {b}"));
    }
}

#[test]
fn resnet_50_is_a_model_file() {
    let mut text = "name = \"resnet50\"\ninput = [3, 224, 224]\nclasses = 1000\nparts = [\"\", \"\", \"\"]\n\
         backbone = [\n{ name = \"conv1\", type = \"Conv2d\", out_channels = 64, kernel_size = 7, stride = 2, \
         padding = 3, bias = false },\n{ name = \"bn1\", type = \"BatchNorm2d\" },\n\
         { name = \"relu\", type = \"ReLU\" },\n\
         { name = \"maxpool\", type = \"MaxPool2d\", kernel_size = 3, stride = 2, padding = 1 },\n"
        .to_string();
    for (stage, blocks) in [(1, 3), (2, 4), (3, 6), (4, 3)] {
        for block in 0..blocks {
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            text += &format!(
                "{{ name = \"layer{stage}.{block}\", type = \"Bottleneck\", out_channels = {}, stride = {stride} }},\n",
                128 << stage
            );
        }
    }
    text += "]\nneck = [{ type = \"AdaptiveAvgPool2d\", output_size = 1, name = \"avgpool\" }, \
             { type = \"Flatten\", name = \"flatten\" }]\nhead = [{ name = \"fc\", type = \"Linear\" }]\n";
    let network = Architecture::from_toml(&text).unwrap().build().unwrap();
    let summary = summarize("resnet50", &network, &[3, 224, 224]).unwrap();
    // Counted by PyTorch from torchvision's.
    assert_eq!((summary.parameters, summary.multiply_adds), (25_557_032, 4_089_184_256));
}

#[test]
fn blocks_that_cannot_be_and_names_that_clash_are_refused_with_what_would_mend_them() {
    for (layers, expected) in [
        ("{ type = \"Bottleneck\", out_channels = 66 }", "out_channels 66 is no multiple of 4"),
        ("{ type = \"BasicBlock\", out_channels = 8, stride = 0 }", "stride"),
        (
            "{ type = \"Conv2dNormActivation\", out_channels = 8, activation_layer = \"relu\" }",
            "activation_layer \"relu\"; give \"ReLU\", \"ReLU6\"",
        ),
        ("{ type = \"InvertedResidual\", out_channels = 8, expand_ratio = 0 }", "backbone.0"),
        ("{ type = \"ReLU\" }, { type = \"ReLU\", name = \"0\" }", "two layers are named \"backbone.0\""),
        ("{ type = \"ReLU\", name = 3 }", "name = 3: invalid type: integer `3`, expected a string"),
        ("{ type = \"ReLU\", name = \"a b\" }", "\"backbone.a b\" is no name of a layer"),
    ] {
        let found = error(layers);
        assert!(found.contains(expected), "{layers}: {found}");
    }
}
