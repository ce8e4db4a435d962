//! The command on a folder of images.

mod command;

use std::fs;
use std::path::Path;

use command::{as_str, error_of, hash, refused};
use rasgo::formats::image::{Rgb, RgbImage};

/// Bars of two directions, bright on dark, in colours and at places that follow from a counter.
fn write_images(folder: &Path) {
    for (part, count) in [("train", 24u32), ("test", 8)] {
        for (class, name) in ["across", "down"].into_iter().enumerate() {
            let place = folder.join(part).join(name);
            fs::create_dir_all(&place).unwrap();
            for i in 0..count {
                let line = 3 + i * 5 % 22;
                let image = RgbImage::from_fn(28, 28, |x, y| {
                    let along = if class == 0 { y } else { x };
                    Rgb(if along.abs_diff(line) < 2 { [200, 100 + i as u8, 90] } else { [10, 20, i as u8] })
                });
                let ending = if i % 2 == 0 { "png" } else { "jpg" };
                image.save(place.join(format!("{i:04}.{ending}"))).unwrap();
            }
        }
    }
}

#[test]
fn a_folder_of_images_is_trained_on_evaluated_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    write_images(&folder.path().join("bars"));
    let config = path("config.toml");
    let options =
        "epochs = 6\nbatch_size = 8\nheld_out = 0\n[augment]\nflip = true\ncrop = 2\n[views]\nflip = true\n";
    fs::write(&config, options).unwrap();
    let bars = path("bars");
    let text = |arguments: &[&str]| {
        let output = command::run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", error_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let train = |out: &str, workers: &str| {
        let options = ["--config", &config, "--seed", "1", "--workers", workers, "--json", "--out", out];
        let all: Vec<String> = ["train", &bars].into_iter().chain(options).map(String::from).collect();
        text(&as_str(&all))
    };
    let (out, other) = (path("run"), path("other"));
    let trained = train(&out, "0");
    train(&other, "2");
    assert_eq!(hash(Path::new(&out)), hash(Path::new(&other)));
    let metrics: serde_json::Value = serde_json::from_str(&trained).unwrap();
    let accuracy = metrics["test_accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "{trained}");
    let evaluated: serde_json::Value = serde_json::from_str(&text(&["eval", &out, "--json"])).unwrap();
    assert_eq!(evaluated["accuracy"].as_f64(), Some(accuracy));
    assert_eq!(evaluated["loss"], metrics["test_loss"]);
    for (name, file) in [("across", "bars/test/across/0003.jpg"), ("down", "bars/test/down/0000.png")] {
        let predicted = text(&["predict", &out, &path(file)]);
        assert!(predicted.contains(name), "{predicted}");
    }
}

#[test]
fn a_file_that_is_no_image_stops_a_run_before_its_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let bars = folder.path().join("bars");
    write_images(&bars);
    fs::write(bars.join("train/down/0007.jpg"), "not yet").unwrap();
    let (data, out) = (bars.to_str().unwrap(), folder.path().join("run"));
    let out = out.to_str().unwrap();
    refused(
        &[(
            &["train", data, "--out", out],
            1,
            "train/down/0007.jpg: is no image that can be read, but a text",
        )],
        out,
    );
}
