//! The command on a small data set in IDX files: bits, resume, and what it refuses.

mod command;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use command::{Case, as_str, error_of, hash, rasgo, refused, run};

/// Bars whose direction is the class, at places and strengths that follow from a counter.
fn write_data(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (part, count) in [("train", 400u32), ("t10k", 100)] {
        let (mut images, mut labels) = (vec![0u8, 0, 8, 3], vec![0u8, 0, 8, 1]);
        for size in [count, 28, 28] {
            images.extend(size.to_be_bytes());
        }
        labels.extend(count.to_be_bytes());
        for i in 0..count {
            let class = i % 2;
            let line = 6 + (i * 7 % 16);
            labels.push(class as u8);
            for y in 0..28u32 {
                for x in 0..28u32 {
                    let along = if class == 0 { y } else { x };
                    images.push(if along.abs_diff(line) < 2 { 120 + (i % 100) as u8 } else { 0 });
                }
            }
        }
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        write_data(&folder.path().join("bars"));
        Place { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    /// The arguments of a run into a folder of that name.
    fn train(&self, name: &str) -> Vec<String> {
        let fixed = ["--epochs", "3", "--batch-size", "32", "--held-out", "40", "--seed", "5", "--out"];
        let mut all = vec!["train".to_string(), self.path("bars")];
        all.extend(fixed.map(String::from));
        all.push(self.path(name));
        all
    }
}

#[test]
fn a_run_has_the_same_bits_at_any_number_of_threads_and_learns() {
    let place = Place::new();
    let mut hashes = Vec::new();
    for threads in ["1", "2", "3", "8"] {
        let mut arguments = place.train(threads);
        arguments.extend(["--threads".to_string(), threads.to_string()]);
        let output = run(&as_str(&arguments));
        assert!(output.status.success(), "{}", error_of(&output));
        hashes.push(hash(Path::new(&place.path(threads))));
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let output = run(&["eval", &place.path("1"), "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"accuracy\":1.0"), "{text}");
    for file in ["model.safetensors", "config.toml", "metrics.jsonl", "report.html", "checkpoint/latest"] {
        assert!(Path::new(&place.path("1")).join(file).exists(), "{file}");
    }
}

#[test]
fn a_run_in_bf16_learns_with_the_same_bits_at_any_number_of_threads_and_eval_finds_its_figures() {
    let place = Place::new();
    let mut hashes = Vec::new();
    for threads in ["1", "2", "3"] {
        let mut arguments = place.train(threads);
        arguments.extend(["--precision", "bf16", "--threads", threads].map(String::from));
        let output = run(&as_str(&arguments));
        assert!(output.status.success(), "{}", error_of(&output));
        assert!(error_of(&output).contains("parameters, in bf16"), "{}", error_of(&output));
        hashes.push(hash(Path::new(&place.path(threads))));
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    assert!(run(&as_str(&place.train("f32"))).status.success());
    assert_ne!(hash(Path::new(&place.path("f32"))), hashes[0]);

    let folder = place.path("1");
    let config = fs::read_to_string(Path::new(&folder).join("config.toml")).unwrap();
    assert!(config.contains("precision = \"bf16\""), "{config}");
    let report = fs::read_to_string(Path::new(&folder).join("report.html")).unwrap();
    assert!(report.contains("of the test images, in bf16."), "{report}");
    let metrics = fs::read_to_string(Path::new(&folder).join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let loss = |line: &serde_json::Value| line["train_loss"].as_f64().unwrap();
    assert!(loss(&lines[2]) < 0.8 * loss(&lines[0]), "{metrics}");
    let eval = |run_folder: &str| -> serde_json::Value {
        let output = run(&["eval", run_folder, "--json"]);
        assert!(output.status.success(), "{}", error_of(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let found = eval(&folder);
    assert_eq!(found["loss"], lines[2]["test_loss"]);
    assert_eq!(found["accuracy"], lines[2]["test_accuracy"]);
    assert_eq!(found["accuracy"], 1.0);
    let sample = format!("{}:test:4", place.path("bars"));
    assert!(run(&["predict", &folder, &sample]).status.success());
}

#[test]
fn a_run_does_not_go_on_in_another_precision() {
    let place = Place::new();
    let folder = place.path("killed");
    let mut arguments = place.train("killed");
    arguments.extend(["--precision", "bf16"].map(String::from));
    // So many epochs that it is not finished when it is killed.
    assert_eq!(arguments[2..4], ["--epochs", "3"]);
    arguments[3] = "1000".to_string();
    let mut child = rasgo(&as_str(&arguments)).spawn().unwrap();
    let begun = std::time::Instant::now();
    while !Path::new(&folder).join("checkpoint/latest").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait().unwrap();
    let config = Path::new(&folder).join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let other = text.replace("precision = \"bf16\"\n", "");
    assert_ne!(other, text);
    fs::write(&config, other).unwrap();
    let output = run(&["train", "--resume", &folder]);
    let error = error_of(&output);
    assert!(output.status.code() == Some(1) && error.contains("config.toml has changed"), "{error}");
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let place = Place::new();
    assert!(run(&as_str(&place.train("whole"))).status.success());
    let whole = hash(Path::new(&place.path("whole")));
    for (i, milliseconds) in [60u64, 250, 600].into_iter().enumerate() {
        let name = format!("killed{i}");
        let mut child = rasgo(&as_str(&place.train(&name))).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
        let folder = place.path(&name);
        if !Path::new(&folder).join("config.toml").exists() {
            continue;
        }
        let output = run(&["train", "--resume", &folder]);
        assert!(output.status.success(), "{}", error_of(&output));
        assert_eq!(hash(Path::new(&folder)), whole, "killed after {milliseconds} ms");
    }
    let output = run(&["train", "--resume", &place.path("whole")]);
    assert!(output.status.success() && error_of(&output).contains("finished already"));
    // What it suggests is what the training did.
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&format!("{}:test:42\n", place.path("bars"))), "{shown}");
}

#[test]
fn a_run_is_summarised_by_its_folder_or_its_model() {
    let place = Place::new();
    let mut arguments = place.train("run");
    arguments.extend(["--model", "lenet5", "--epochs", "1"].map(String::from));
    arguments.drain(2..4);
    assert!(run(&as_str(&arguments)).status.success());
    let summary = |model: &str| {
        let output = run(&["summary", model]);
        assert!(output.status.success(), "{}", error_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = summary(&place.path("run"));
    assert_eq!(shown, summary(&place.path("run/model.safetensors")));
    // Of its two classes, not of the zoo's ten.
    let of_two = run(&["summary", "lenet5", "--classes", "2"]).stdout;
    assert_eq!(shown, String::from_utf8(of_two).unwrap());
    let printed = run(&["summary", &place.path("run"), "--toml"]).stdout;
    assert!(String::from_utf8(printed).unwrap().contains("classes = 2"));
    refused(
        &[
            (&["summary", &place.path("bars")], 1, "model.safetensors: there is no such file"),
            (&["summary", &place.path("none.safetensors")], 1, "there is no such file"),
        ],
        &place.path("none"),
    );
}

#[test]
fn a_large_learning_rate_is_told_in_short() {
    let place = Place::new();
    let mut arguments = place.train("diverged");
    arguments.extend(["--lr", "1e30", "--optimizer", "sgd"].map(String::from));
    let error = error_of(&run(&as_str(&arguments)));
    assert!(error.contains("a smaller --lr than 1e30;"), "{error}");
}

/// Interrupts a process, as Ctrl-C does.
#[cfg(unix)]
fn interrupt(child: &std::process::Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_after_the_step_and_says_how_to_go_on() {
    let place = Place::new();
    assert!(run(&as_str(&place.train("whole"))).status.success());
    let folder = place.path("stopped");
    let child = rasgo(&as_str(&place.train("stopped"))).spawn().unwrap();
    // The first checkpoint is written when all is set up.
    let begun = std::time::Instant::now();
    while !Path::new(&folder).join("checkpoint/latest").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", error_of(&output));
    let error = error_of(&output);
    assert!(error.contains("stopped after step") && error.contains(&format!("--resume {folder}")), "{error}");
    assert!(run(&["train", "--resume", &folder]).status.success());
    assert_eq!(hash(Path::new(&folder)), hash(Path::new(&place.path("whole"))));
}

#[test]
fn options_train_as_they_say_and_the_report_is_written() {
    let place = Place::new();
    let mut arguments = place.train("options");
    let more = "--optimizer sgd --schedule cosine --weight-decay 0 --label-smoothing 0 --accumulate 2 --ema 0.9 \
                --clip-grad-norm 1 --workers 2 --lr 0.05";
    arguments.extend(more.split_whitespace().map(String::from));
    let output = run(&as_str(&arguments));
    assert!(output.status.success(), "{}", error_of(&output));
    let config = fs::read_to_string(Path::new(&place.path("options")).join("config.toml")).unwrap();
    for part in
        ["name = \"sgd\"", "schedule = \"cosine\"", "accumulate = 2", "ema = 0.9", "clip_grad_norm = 1.0"]
    {
        assert!(config.contains(part), "{part}: {config}");
    }
    let report = fs::read_to_string(Path::new(&place.path("options")).join("report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("class=confusion"), "{report}");
    assert!(report.contains("prediction by column") && !report.contains("NaN"));
    // The configuration alone makes the same run.
    let config = place.path("options/config.toml");
    let again = run(&["train", "--config", &config, "--out", &place.path("again")]);
    assert!(again.status.success(), "{}", error_of(&again));
    assert_eq!(hash(Path::new(&place.path("again"))), hash(Path::new(&place.path("options"))));
}

#[test]
fn every_optimizer_trains_and_leaves_its_numbers_in_the_configuration() {
    let place = Place::new();
    for (name, parts) in [
        ("rmsprop", ["name = \"rmsprop\"", "alpha = 0.99"]),
        // The betas are those of the default, AdamW.
        ("muon", ["name = \"muon\"", "betas = [0.9, 0.99]"]),
    ] {
        let mut arguments = place.train(name);
        arguments.extend(["--optimizer", name, "--lr", "0.003"].map(String::from));
        let output = run(&as_str(&arguments));
        assert!(output.status.success(), "{}", error_of(&output));
        let path = Path::new(&place.path(name)).join("config.toml");
        let config = fs::read_to_string(&path).unwrap();
        for part in parts {
            assert!(config.contains(part), "{part}: {config}");
        }
        // A number that the rule does not have.
        let wrong = config.replace("[optimizer]\n", "[optimizer]\ndampening = 0.1\n");
        let (file, out) = (place.path("wrong.toml"), place.path("wrong"));
        fs::write(&file, wrong).unwrap();
        let output = run(&["train", "--config", &file, "--out", &out]);
        assert!(
            output.status.code() == Some(1) && error_of(&output).contains("dampening"),
            "{}",
            error_of(&output)
        );
    }
}

#[test]
fn damaged_data_is_named_and_nothing_is_made() {
    let place = Place::new();
    let out = place.path("out");
    let damage = |name: &str, file: &str, change: &dyn Fn(&mut Vec<u8>)| -> String {
        let folder = place.path(name);
        write_data(Path::new(&folder));
        let path = Path::new(&folder).join(file);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        folder
    };
    let (images, labels) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    let magic = damage("magic", images, &|bytes| bytes[2] = 7);
    let count = damage("count", images, &|bytes| bytes[7] = bytes[7].wrapping_add(3));
    let short = damage("short", images, &|bytes| bytes.truncate(5000));
    let differ = damage("differ", labels, &|bytes| {
        bytes[4..8].copy_from_slice(&300u32.to_be_bytes());
        bytes.truncate(8 + 300);
    });
    let gz = damage("gz", labels, &|_| {});
    let plain = Path::new(&gz).join(images);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&fs::read(&plain).unwrap()).unwrap();
    let packed = packed.finish().unwrap();
    fs::remove_file(&plain).unwrap();
    fs::write(plain.with_extension("gz"), &packed[..packed.len() / 2]).unwrap();
    let photos = place.path("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(Path::new(&photos).join("notes.txt"), "nothing").unwrap();
    refused(
        &[
            (&["train", &magic, "--out", &out], 1, images),
            (&["train", &count, "--out", &out], 1, images),
            (&["train", &short, "--out", &out], 1, images),
            (&["train", &differ, "--out", &out], 1, "300"),
            (&["train", &gz, "--out", &out], 1, "train-images-idx3-ubyte.gz"),
            (&["train", &photos, "--out", &out], 1, "photos"),
            (&["train", &place.path("nowhere"), "--out", &out], 1, "nowhere"),
        ],
        &out,
    );
}

#[test]
fn a_model_file_that_does_not_fit_names_the_layer_and_the_arithmetic() {
    let place = Place::new();
    let (bars, out) = (place.path("bars"), place.path("out"));
    let file = |name: &str, text: &str| {
        let path = place.path(name);
        fs::write(&path, format!("input = [1, 28, 28]\n{text}")).unwrap();
        path
    };
    let conv = "[[layer]]\ntype = \"Conv2d\"\nout_channels = 4\n";
    let end = "[[layer]]\ntype = \"Flatten\"\n[[layer]]\ntype = \"Linear\"\n";
    let large = file("large.toml", &format!("{conv}kernel_size = 3\n{conv}kernel_size = 31\n{end}"));
    let unknown = file("unknown.toml", &format!("{conv}kernel_size = 3\nstrid = 2\n{end}"));
    let kind = file("kind.toml", &format!("[[layer]]\ntype = \"Conv2D\"\nout_channels = 4\n{end}"));
    refused(
        &[
            (&["train", &bars, "--model", &large, "--out", &out], 1, "31"),
            (&["train", &bars, "--model", &unknown, "--out", &out], 1, "strid"),
            (&["train", &bars, "--model", &kind, "--out", &out], 1, "Conv2d"),
            (
                &["train", &bars, "--model", &place.path("none.toml"), "--out", &out],
                1,
                "none.toml: there is no such file",
            ),
            (
                &["train", &bars, "--config", &place.path("none.toml"), "--out", &out],
                1,
                "there is no such file",
            ),
            (&["summary", &large], 1, "31"),
        ],
        &out,
    );
    let error = error_of(&run(&["train", &bars, "--model", &large, "--out", &out]));
    assert!(error.contains("backbone.1") && error.contains("26"), "{error}");
}

#[test]
fn a_damaged_run_is_named() {
    let place = Place::new();
    let bars = place.path("bars");
    assert!(run(&as_str(&place.train("run"))).status.success());
    let folder = place.path("run");
    let model = Path::new(&folder).join("model.safetensors");
    let good = fs::read(&model).unwrap();
    let random: Vec<u8> =
        (0..good.len() as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    for bytes in [&good[..good.len() / 2], &good[..4], &[], &random] {
        fs::write(&model, bytes).unwrap();
        for arguments in [&["eval", &folder][..], &["predict", &folder, "mnist:test:1"]] {
            let output = run(arguments);
            let error = error_of(&output);
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert!(error.contains("model.safetensors") && !error.contains("panicked"), "{error}");
        }
    }
    fs::remove_file(&model).unwrap();
    let output = run(&["eval", &folder, &bars]);
    assert!(output.status.code() == Some(1) && error_of(&output).contains("model.safetensors"));
}

#[test]
fn bad_input_is_one_clear_line_and_nothing_is_made() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    fs::write(place.path("text.png"), "no image").unwrap();
    let (bars, empty, out) = (place.path("bars"), place.path("empty"), place.path("out"));
    let below_a_file = place.path("text.png/run");
    let cases: &[Case<'_>] = &[
        (&["train", &bars, "--model", "lectur", "--out", &out], 1, "is \"lecture\" meant?"),
        (&["train", &empty, "--out", &out], 1, "empty"),
        (&["train", &bars, "--batch-size", "0", "--out", &out], 2, "1 or more"),
        (
            &["train", &bars, "--batch-size", "5000", "--held-out", "40", "--out", &out],
            1,
            "takes 5000 images",
        ),
        (&["train", &bars, "--epochs", "-1", "--out", &out], 2, "--epochs"),
        (&["train", &bars, "--lr", "nan", "--out", &out], 2, "above 0"),
        (&["train", &bars, "--threads", "0", "--out", &out], 2, "--threads"),
        (&["train", &bars, "--ephocs", "2"], 2, "--epochs"),
        (&["train", "--resume", &empty], 1, "config.toml"),
        (&["eval", &empty], 1, "model.safetensors"),
        (&["summary", "lecture", "--input", "28"], 1, "1x28x28"),
        (&["train", &bars, "--out", &below_a_file], 1, "text.png"),
        (&["train", &bars, "--held-out", "400", "--out", &out], 1, "--held-out"),
        (&["train", &bars, "--label-smoothing", "1", "--out", &out], 2, "below 1"),
        (&["train", &bars, "--accumulate", "0", "--out", &out], 2, "1 or more"),
        (&["train", &bars, "--optimizer", "adm", "--out", &out], 2, "adam"),
        (&["train", &bars, "--precision", "f16", "--out", &out], 2, "[possible values: f32, bf16]"),
        (&["train", "--resume", &bars, "--precision", "bf16"], 2, "cannot be used with"),
        (&["train", "--resume", &bars, "--lr", "0.1"], 2, "cannot be used with"),
        (&["train", "--resume", &bars, "--out", &out], 2, "cannot be used with"),
    ];
    refused(cases, &out);
    assert!(run(&as_str(&place.train("run"))).status.success());
    let again = run(&as_str(&place.train("run")));
    assert!(again.status.code() == Some(1) && error_of(&again).contains("holds a run"));
    let output = run(&["predict", &place.path("run"), &place.path("text.png")]);
    assert!(
        output.status.code() == Some(1) && error_of(&output).contains("text.png"),
        "{}",
        error_of(&output)
    );
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_stops_nothing_and_a_full_device_is_told() {
    let place = Place::new();
    let mut child = rasgo(&as_str(&place.train("unread"))).spawn().unwrap();
    drop(child.stderr.take());
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(Path::new(&place.path("unread")).join("report.html").exists());
    let mut child = rasgo(&["completions", "bash"]).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let output = rasgo(&["summary", "mlp", "--json"]).stdout(full).spawn().unwrap().wait_with_output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", error_of(&output));
        assert!(error_of(&output).contains("standard output"), "{}", error_of(&output));
    }
}

#[test]
fn a_picture_on_the_other_ground_is_noticed_and_invert_turns_it_around() {
    use rasgo::{Tensor, formats};
    let place = Place::new();
    assert!(run(&as_str(&place.train("run"))).status.success());
    let pixels: Vec<u8> = (0..784).map(|i| if (i / 28usize).abs_diff(12) < 2 { 200 } else { 0 }).collect();
    let write = |name: &str, pixels: Vec<u8>| {
        let picture = Tensor::from_vec(pixels, [1, 28, 28]).unwrap();
        formats::write_png(&formats::Disk::default(), place.path(name), &picture).unwrap();
        place.path(name)
    };
    let dark = write("dark.png", pixels.clone());
    let bright = write("bright.png", pixels.iter().map(|x| 255 - x).collect());
    let folder = place.path("run");
    let shown = |arguments: &[&str]| {
        let output = run(&[&["predict", &folder], arguments].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.split_once(": ").unwrap().1.to_string(), error_of(&output))
    };
    let (expected, note) = shown(&[&dark]);
    assert_eq!(note, "");
    let (_, note) = shown(&[&bright]);
    assert!(note.contains("--invert"), "{note}");
    assert_eq!(shown(&[&bright, "--invert"]), (expected, String::new()));
    // The picture of README's command.
    let digit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/digit.png");
    assert!(shown(&[digit]).1.contains("--invert"));
    assert_eq!(shown(&[digit, "--invert"]).1, "");
    // A sample by name lies on the right ground.
    let name = format!("{}:test:4", place.path("bars"));
    let lines = |arguments: &[&str]| {
        let output = run(&[&["predict", &folder], arguments].concat());
        String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(lines(&[&bright, &name, "--invert"])[1..], lines(&[&name])[..]);
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = run(&[&["predict", &folder, &dark, "--json"], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let all = &json(&[])["predictions"][0]["classes"];
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(json(&["--top", "1"])["predictions"][0]["classes"], serde_json::json!([all[0]]));
    refused(
        &[
            (&["predict", &folder, &dark, "--top", "0"], 2, "1 or more"),
            (&["predict", &folder, &name, "--invert"], 1, "--invert is for files"),
        ],
        &place.path("none"),
    );
}
