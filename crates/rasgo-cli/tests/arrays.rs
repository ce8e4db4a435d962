//! The command on sequences and video: arrays of NumPy and safetensors in, arrays out.

mod command;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use command::{as_str, error_of, hash, rasgo, refused, run};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use rasgo::formats::{Disk, npy, safetensors};
use rasgo::{DType, Tensor};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    /// Writes an array and gives its path.
    fn npy(&self, name: &str, tensor: &Tensor) -> String {
        npy::save(&Disk::default(), self.path(name), tensor).unwrap();
        self.path(name)
    }

    /// Writes arrays as NumPy's `savez_compressed` does.
    fn npz(&self, name: &str, arrays: &[(&str, Tensor)]) -> String {
        let file = fs::File::create(self.path(name)).unwrap();
        let mut archive = rawzip::ZipArchiveWriter::new(file);
        for (array, tensor) in arrays {
            let bytes = fs::read(self.npy("part.npy", tensor)).unwrap();
            let deflate = rawzip::CompressionMethod::DEFLATE;
            let entry = archive.new_file(format!("{array}.npy")).compression_method(deflate).start();
            let (mut entry, config) = entry.unwrap();
            let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
            writer.write_all(&bytes).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        self.path(name)
    }

    fn safetensors(&self, name: &str, arrays: &[(&str, Tensor)], classes: &str) -> String {
        let tensors: Vec<_> = arrays.iter().map(|(name, x)| (name.to_string(), x.clone())).collect();
        let metadata = match classes {
            "" => BTreeMap::new(),
            classes => BTreeMap::from([("classes".to_string(), classes.to_string())]),
        };
        safetensors::save(&Disk::default(), self.path(name), &tensors, &metadata).unwrap();
        self.path(name)
    }

    /// The arguments of a run on that data into a folder of that name.
    fn train(&self, data: &str, name: &str) -> Vec<String> {
        let fixed = ["--epochs", "4", "--batch-size", "20", "--held-out", "40", "--seed", "5", "--out"];
        let all = ["train", data].into_iter().chain(fixed).map(String::from);
        all.chain([self.path(name)]).collect()
    }
}

/// A number in 0..1 that follows from a counter.
fn drawn(i: usize) -> f32 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1u64 << 24) as f32
}

fn labels(count: usize) -> Tensor {
    Tensor::from_vec((0..count as i64).map(|i| i % 2).collect(), [count]).unwrap()
}

/// Series of two channels: the first has a bump that the second has three steps later, or earlier.
fn series(count: usize, seed: usize) -> (Tensor, Tensor) {
    const LENGTH: usize = 40;
    let mut values = vec![0f32; count * 2 * LENGTH];
    for (i, sample) in values.chunks_mut(2 * LENGTH).enumerate() {
        for (j, value) in sample.iter_mut().enumerate() {
            *value = 0.3 * drawn(seed + i * 1000 + j);
        }
        let at = 4 + (drawn(seed + i) * 30.0) as usize;
        let other = if i % 2 == 0 { at + 3 } else { at - 3 };
        sample[at] += 2.0;
        sample[LENGTH + other] += 2.0;
    }
    (Tensor::from_vec(values, [count, 2, LENGTH]).unwrap(), labels(count))
}

/// Videos of a bright column that goes right or left.
fn videos(count: usize, seed: usize) -> (Tensor, Tensor) {
    const SIZES: [usize; 3] = [5, 9, 12];
    let mut values = vec![0u8; count * SIZES.iter().product::<usize>()];
    for (i, video) in values.chunks_mut(SIZES.iter().product()).enumerate() {
        let start = (drawn(seed + i) * 12.0) as usize;
        for (t, frame) in video.chunks_mut(9 * 12).enumerate() {
            let time = if i % 2 == 0 { t } else { 4 - t };
            for row in frame.chunks_mut(12) {
                row[(start + 2 * time) % 12] = 150 + (drawn(seed + i + t) * 100.0) as u8;
            }
        }
    }
    (Tensor::from_vec(values, [count, 1, 5, 9, 12]).unwrap(), labels(count))
}

fn with_test((x, y): (Tensor, Tensor), (x_test, y_test): (Tensor, Tensor)) -> [(&'static str, Tensor); 4] {
    [("x", x), ("y", y), ("x_test", x_test), ("y_test", y_test)]
}

fn text_of(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", error_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn series_of_numpy_are_trained_on_evaluated_and_predicted() {
    let place = Place::new();
    let (x_test, y_test) = series(100, 900_000);
    let data = place.npz("bumps.npz", &with_test(series(400, 0), (x_test.clone(), y_test)));
    let output = run(&as_str(&place.train(&data, "run")));
    assert!(output.status.success(), "{}", error_of(&output));
    let shown = error_of(&output);
    assert!(shown.contains("400 training and 100 test sequences, 2 x 40, 2 classes"), "{shown}");
    assert!(shown.contains("held-out sequences"), "{shown}");
    let folder = place.path("run");
    let config = fs::read_to_string(Path::new(&folder).join("config.toml")).unwrap();
    assert!(config.contains("model = \"rasgo-small-1d\"") && config.contains("rotation = 0.0"), "{config}");
    let report = fs::read_to_string(Path::new(&folder).join("report.html")).unwrap();
    assert!(report.contains("test sequences") && !report.contains("augmented"), "{report}");

    let result: serde_json::Value = serde_json::from_str(&text_of(&["eval", &folder, "--json"])).unwrap();
    assert!(result["accuracy"].as_f64().unwrap() >= 0.95, "{result}");
    assert!(text_of(&["eval", &folder]).contains("of 100 sequences"));

    // A sample by name, the same as an array alone, and all of them as a batch give the same bits.
    let batch = place.npy("batch.npy", &x_test);
    let one = x_test.narrow(0, 3, 1).unwrap().reshape([2, 40]).unwrap();
    let one = place.npy("one.npy", &one);
    let name = format!("{data}:test:3");
    let out = place.path("probabilities.npy");
    let text = text_of(&["predict", &folder, &batch, &one, &name, "--json", "--out", &out]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let predictions = json["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 102);
    assert_eq!(predictions[3]["image"], format!("{batch}:3"));
    assert_eq!((&predictions[100]["image"], &predictions[101]["image"]), (&one.into(), &name.into()));
    assert_eq!(predictions[3]["classes"], predictions[100]["classes"]);
    assert_eq!(predictions[3]["classes"], predictions[101]["classes"]);
    let rows = npy::load(&out).unwrap();
    assert_eq!((rows.dtype(), &rows.shape()[..]), (DType::F32, &[102, 2][..]));
    let rows = rows.to_vec::<f32>().unwrap();
    let found = rows.chunks(2).take(100).enumerate().filter(|(i, row)| (row[1] > row[0]) == (i % 2 == 1));
    assert_eq!(found.count() as f64 / 100.0, result["accuracy"].as_f64().unwrap());
    assert_eq!(rows[6..8], rows[200..202]);
    let best = &predictions[3]["classes"][0];
    let class: usize = best["name"].as_str().unwrap().parse().unwrap();
    assert_eq!(best["probability"].as_f64().unwrap() as f32, rows[6 + class]);
    // x of an archive, and of whole numbers.
    assert_eq!(text_of(&["predict", &folder, &data]).lines().count(), 400);
}

#[test]
fn video_has_the_same_bits_at_any_number_of_threads_and_after_a_kill() {
    let place = Place::new();
    let arrays = with_test(videos(120, 0), videos(40, 900_000));
    let data = place.safetensors("columns.safetensors", &arrays, r#"["to the right", "to the left"]"#);
    let train = |name: &str| place.train(&data, name);
    let mut hashes = Vec::new();
    for threads in ["1", "2", "3"] {
        let mut arguments = train(threads);
        arguments.extend(["--threads".to_string(), threads.to_string()]);
        let output = run(&as_str(&arguments));
        assert!(output.status.success(), "{}", error_of(&output));
        hashes.push(hash(Path::new(&place.path(threads))));
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let mut child = rasgo(&as_str(&train("killed"))).spawn().unwrap();
    let begun = std::time::Instant::now();
    while !Path::new(&place.path("killed")).join("checkpoint/latest").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    let _ = child.kill();
    child.wait().unwrap();
    let killed = place.path("killed");
    assert!(run(&["train", "--resume", &killed]).status.success());
    assert_eq!(hash(Path::new(&killed)), hashes[0]);
    let folder = place.path("1");
    assert!(text_of(&["eval", &folder]).contains("to the right"));
    let shown = text_of(&["predict", &folder, &format!("{data}:test:0")]);
    assert!(shown.contains("to the right"), "{shown}");
    assert!(text_of(&["runs", place.folder.path().to_str().unwrap()]).contains("rasgo-small-3d"));
    // Other data than it began with.
    let stopped = place.path("stopped");
    fs::create_dir(&stopped).unwrap();
    fs::create_dir(Path::new(&stopped).join("checkpoint")).unwrap();
    for file in ["config.toml", "checkpoint/latest"] {
        fs::copy(Path::new(&killed).join(file), Path::new(&stopped).join(file)).unwrap();
    }
    let latest = fs::read_to_string(Path::new(&killed).join("checkpoint/latest")).unwrap();
    let checkpoint = format!("checkpoint/{}", latest.trim());
    fs::copy(Path::new(&killed).join(&checkpoint), Path::new(&stopped).join(&checkpoint)).unwrap();
    place.safetensors("columns.safetensors", &with_test(videos(120, 7), videos(40, 900_000)), "");
    let output = run(&["train", "--resume", &stopped]);
    assert!(error_of(&output).contains("the data has changed"), "{}", error_of(&output));
}

#[test]
fn a_model_of_ones_own_is_trained_and_what_was_held_out_is_evaluated() {
    let place = Place::new();
    let (x, y) = series(400, 0);
    let data = place.npz("bumps.npz", &[("x", x), ("y", y)]);
    let model = place.path("own.toml");
    let layer = |text: &str| format!("[[layer]]\ntype = {text}\n");
    let layers = [
        layer("\"Conv1d\"\nout_channels = 8\nkernel_size = 9\npadding = \"same\""),
        layer("\"BatchNorm1d\""),
        layer("\"ReLU\""),
        layer("\"MaxPool1d\"\nkernel_size = 2"),
        layer("\"AdaptiveMaxPool1d\"\noutput_size = 1"),
        layer("\"Flatten\""),
        layer("\"Linear\""),
    ];
    fs::write(&model, format!("input = [2, 40]\n{}", layers.concat())).unwrap();
    let summary = text_of(&["summary", &model]);
    assert!(summary.contains("8x40") && summary.contains("8x20"), "{summary}");
    let mut arguments = place.train(&data, "run");
    arguments.extend(["--model".to_string(), model]);
    let output = run(&as_str(&arguments));
    assert!(output.status.success(), "{}", error_of(&output));
    let folder = place.path("run");
    let output = run(&["eval", &folder]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(error_of(&output).contains("held out") && text.contains("of 40 sequences"), "{text}");
    // The report shows the same, and the mistakes by their names.
    let report = fs::read_to_string(Path::new(&folder).join("report.html")).unwrap();
    assert!(
        report.contains("<h2>Held-out sequences: class by row") && !report.contains("est sequences"),
        "{report}"
    );
    let matrix = report.split("class=confusion").nth(1).unwrap().split("</table>").next().unwrap();
    let cells =
        matrix.split("<td style=").skip(1).filter_map(|cell| cell.split('>').nth(1)?.split('<').next());
    assert_eq!(cells.filter_map(|cell| cell.parse::<usize>().ok()).sum::<usize>(), 40);
    assert!(report.contains("istake") && report.contains("on the held-out sequences"), "{report}");
    // It is what the last line of the training said.
    let metrics = fs::read_to_string(Path::new(&folder).join("metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    let accuracy = format!("accuracy {:.2} %", 100.0 * last["val_accuracy"].as_f64().unwrap());
    assert!(text.starts_with(&accuracy), "{accuracy}: {text}");
    assert!(text_of(&["eval", &folder, &data]).contains("of 400 sequences"));
    // Data in which a class does not occur is data of the same classes.
    let (x, _) = series(10, 0);
    let zeros = Tensor::from_vec(vec![0i64; 10], [10]).unwrap();
    let part = place.npz("part.npz", &[("x", x.clone()), ("y", zeros.clone())]);
    assert!(text_of(&["eval", &folder, &part]).contains("of 10 sequences"));
    let named = place.safetensors("named.safetensors", &[("x", x), ("y", zeros)], r#"["up", "down"]"#);
    assert!(run(&["eval", &folder, &named]).status.success());
}

#[test]
fn a_bad_input_keeps_no_other_from_being_predicted() {
    let place = Place::new();
    let (x, y) = series(60, 0);
    let data = place.npz("data.npz", &[("x", x.clone()), ("y", y)]);
    let mut arguments = place.train(&data, "run");
    arguments[3] = "1".to_string();
    assert!(run(&as_str(&arguments)).status.success());
    let folder = place.path("run");
    let good = place.npy("good.npy", &x);
    let short = place.npy("short.npy", &x.narrow(2, 0, 7).unwrap());
    let (missing, name) = (place.path("missing.npy"), format!("{data}:train:0"));
    let out = place.path("out.npy");
    let inputs = ["predict", &folder, &missing, &good, &short, &name, "--out", &out];
    let output = run(&inputs);
    let (error, shown) = (error_of(&output), String::from_utf8_lossy(&output.stdout).into_owned());
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!((shown.lines().count(), npy::load(&out).unwrap().shape()[0]), (61, 61));
    for expected in [
        &format!("error: {missing}: ")[..],
        &format!("error: {short}: an array"),
        "error: 2 of 4 inputs",
        "rows of the others",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let output = run(&[&inputs[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let predictions = json["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 63);
    assert_eq!(predictions[0]["image"], missing);
    assert!(predictions[61]["error"].as_str().unwrap().contains("an array of shape [60, 2, 7]"), "{json}");
    assert!(predictions[62]["classes"].is_array());
}

#[test]
fn a_run_knows_its_data_and_its_model_file_from_any_folder() {
    let place = Place::new();
    let (x, y) = series(60, 0);
    let data = place.npz("here.npz", &[("x", x), ("y", y)]);
    let printed = text_of(&["summary", "rasgo-small-1d", "--toml"]);
    fs::write(place.path("own.toml"), printed).unwrap();
    let relative = "train here.npz --model own.toml --epochs 1 --batch-size 20 --out run".split(' ');
    let mut command = rasgo(&relative.collect::<Vec<_>>());
    let output = command.current_dir(place.folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", error_of(&output));
    // Paths from where one is stand in what is shown.
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("predict run here.npz:train:0"), "{shown}");
    let report = fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(report.contains("<h1>own.toml on here.npz</h1>"), "{report}");
    // This process is in another folder.
    let folder = place.path("run");
    assert!(text_of(&["eval", &folder]).contains("of 6 sequences"));
    // A run from before has its paths as they were given, and goes on where it was begun.
    let stopped = place.path("stopped");
    fs::create_dir(&stopped).unwrap();
    let config = fs::read_to_string(Path::new(&folder).join("config.toml")).unwrap();
    let before = config.replace(&data, "here.npz").replace(&place.path("own.toml"), "own.toml");
    assert_ne!(before, config);
    fs::write(Path::new(&stopped).join("config.toml"), before).unwrap();
    let output = rasgo(&["train", "--resume", "stopped"]).current_dir(place.folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", error_of(&output));
    assert_eq!(hash(Path::new(&stopped)), hash(Path::new(&folder)));
    fs::remove_file(&data).unwrap();
    let text = format!(
        "the model was trained on {data}, and nothing is there now\nhint: put it back, or give the data"
    );
    refused(&[(&["eval", &folder], 1, &text)], &place.path("none"));
}

#[test]
fn few_samples_make_a_smaller_batch_unless_its_size_is_given() {
    let place = Place::new();
    let (x, y) = series(60, 0);
    let data = place.npz("few.npz", &[("x", x), ("y", y)]);
    let batch = |more: &[&str], name: &str| {
        let out = place.path(name);
        let output = run(&[&["train", &data, "--epochs", "1", "--out", &out], more].concat());
        assert!(output.status.success(), "{}", error_of(&output));
        let config = fs::read_to_string(Path::new(&out).join("config.toml")).unwrap();
        let line = config.lines().find(|line| line.starts_with("batch_size")).unwrap().to_string();
        (error_of(&output), line)
    };
    let (shown, line) = batch(&[], "default");
    assert!(shown.contains("note: batch size 54, as there are only 54 sequences to train on\n"), "{shown}");
    assert_eq!(line, "batch_size = 54");
    assert_eq!(batch(&["--accumulate", "4"], "four").1, "batch_size = 13");
    // A configuration says it too.
    let config = place.path("default/config.toml");
    assert!(!batch(&["--config", &config], "again").0.contains("note:"));
    let out = place.path("out");
    let large = ["train", &data, "--batch-size", "55", "--out", &out];
    refused(&[(&large, 1, "a step takes 55 sequences, and there are 54 to train on")], &out);
    let output = rasgo(&["train", &data, "--epochs", "1"]).current_dir(place.folder.path()).output().unwrap();
    assert!(error_of(&output).contains("note: batch size 54"), "{}", error_of(&output));
}

#[test]
fn classes_without_samples_are_named_and_have_no_share() {
    let place = Place::new();
    let of = |count: usize, classes: &[i64]| {
        let labels = (0..count).map(|i| classes[i % classes.len()]).collect();
        (series(count, 0).0, Tensor::from_vec(labels, [count]).unwrap())
    };
    let data = place.npz("gaps.npz", &with_test(of(60, &[0, 2, 5]), of(20, &[0, 3])));
    let folder = place.path("run");
    let output = run(&["train", &data, "--epochs", "1", "--out", &folder]);
    let expected = "note: no training sample is of classes 1, 3, 4; the test part has samples of 3\n";
    assert!(error_of(&output).contains(expected), "{}", error_of(&output));
    let shown = text_of(&["eval", &folder]);
    let row = |class: &str| -> Vec<String> {
        let line = shown
            .lines()
            .map(str::trim_start)
            .find(|line| line.starts_with(class))
            .unwrap_or_else(|| panic!("{shown}"));
        line.split_whitespace().map(String::from).collect()
    };
    assert_eq!(row("1 ")[1..], ["0", "–", "–"]);
    assert_eq!(row("3 ")[1..], ["10", "–", "0.00", "%"]);
    assert!(fs::read_to_string(place.path("run/report.html")).unwrap().contains("<td>–"));
    let json: serde_json::Value = serde_json::from_str(&text_of(&["eval", &folder, "--json"])).unwrap();
    assert!(json["classes"][1]["precision"].is_null() && json["classes"][1]["recall"].is_null(), "{json}");
    assert_eq!(json["classes"][3]["recall"], 0.0);
}

#[test]
fn bad_data_is_named_and_nothing_is_made() {
    let place = Place::new();
    let out = place.path("out");
    let (x, y) = series(60, 0);
    let two = |name: &str, x: &Tensor, y: &Tensor| {
        place.npz(&format!("{name}.npz"), &[("x", x.clone()), ("y", y.clone())])
    };
    let good = two("good", &x, &y);
    let y_of = |values: Vec<i64>| Tensor::from_vec(values, [60]).unwrap();
    let changed = |at: usize, value: f32| {
        let mut values = x.to_vec::<f32>().unwrap();
        values[at] = value;
        Tensor::from_vec(values, [60, 2, 40]).unwrap()
    };
    let negative = y_of((0..60).map(|i| if i == 7 { -1 } else { i % 2 }).collect());
    let gaps = y_of((0..60).map(|i| if i == 7 { 1_000_000_000_000 } else { i % 2 }).collect());
    let part = |x: &Tensor, count: usize| x.narrow(0, 0, count).unwrap();
    let large = Tensor::from_vec(vec![1e300f64; 60 * 2 * 40], [60, 2, 40]).unwrap();
    let bytes = x.to_dtype(DType::U8).unwrap();
    let mixed = place.npz("mixed.npz", &with_test((x.clone(), y.clone()), (bytes, y.clone())));
    let other = Tensor::from_vec(vec![0f32; 60 * 2 * 41], [60, 2, 41]).unwrap();
    let lengths = place.npz("lengths.npz", &with_test((x.clone(), y.clone()), (other.clone(), y.clone())));
    let half = place.npz("half.npz", &[("x", x.clone()), ("y", y.clone()), ("x_test", x.clone())]);
    let keras = place.npz("keras.npz", &[("x_train", x.clone()), ("y_train", y.clone())]);
    let few = place.safetensors("few.safetensors", &[("x", x.clone()), ("y", y.clone())], r#"["only"]"#);
    let twice =
        place.safetensors("twice.safetensors", &[("x", x.clone()), ("y", y.clone())], r#"["a", "a"]"#);
    let no_list = place.safetensors("list.safetensors", &[("x", x.clone()), ("y", y.clone())], "up, down");
    let alone = place.npy("alone.npy", &x);
    let cut = place.path("cut.npz");
    let whole = fs::read(&good).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let augmented = place.path("augmented.toml");
    fs::write(&augmented, "[augment]\nrotation = 5.0\n").unwrap();
    let flat = x.reshape([60, 80]).unwrap();
    let cases = [
        (two("negative", &x, &negative), "label 7 of y is -1"),
        (two("gaps", &x, &gaps), "label 7 is 1000000000000, but no label is 2"),
        (two("differ", &x, &part(&y, 59)), "x has 60 samples, and y has 59 labels"),
        (two("floats", &x, &y.to_dtype(DType::F32).unwrap()), "y has values of float32"),
        (two("column", &x, &y.reshape([60, 1]).unwrap()), "y.ravel()"),
        (two("nan", &changed(1234, f32::NAN), &y), "sample 15 of x has the value NaN"),
        (two("inf", &changed(80, f32::INFINITY), &y), "sample 1 of x has the value inf"),
        (two("large", &large, &y), "sample 0 of x has the value 1e300, too large"),
        (two("one", &x, &y_of(vec![3; 60])), "60 training samples are of one class, \"3\""),
        (two("single", &part(&x, 1), &part(&y, 1)), "the only training sample is of class \"0\""),
        (two("none", &part(&x, 0), &part(&y, 0)), "there are no samples"),
        (two("flat", &flat, &y), "x[:, None]"),
        (two("empty", &Tensor::zeros([60, 2, 0], DType::F32).unwrap(), &y), "are no samples"),
        (mixed, "x_test uint8"),
        (lengths, "x_test float32 of shape"),
        (half, "x_test and no y_test"),
        (keras, "is x_train meant?"),
        (few, "the label 1, and there are 1 classes"),
        (twice, "two classes are called \"a\""),
        (no_list, "no list of texts"),
        (alone, "np.savez"),
        (cut, "cut.npz"),
        (place.path("nowhere.npz"), "no such file"),
    ];
    for (data, expected) in &cases {
        refused(&[(&["train", data, "--held-out", "6", "--out", &out], 1, expected)], &out);
    }
    let last = |name: &str, shape: &[usize]| {
        two(name, &Tensor::zeros([&[60], shape].concat(), DType::F32).unwrap(), &y)
    };
    refused(
        &[
            (&["train", &good, "--config", &augmented, "--out", &out], 1, "these are sequences"),
            (
                &["train", &good, "--model", "lenet5", "--held-out", "6", "--out", &out],
                1,
                "lenet5 takes images (C, H, W), and the data are sequences of (2, 40)\nhint: use --model rasgo-small-1d",
            ),
            (
                &["train", &good, "--model", "rasgo-small-3d", "--held-out", "6", "--out", &out],
                1,
                "rasgo-small-3d takes videos (C, D, H, W), and the data are sequences",
            ),
            (&["train", &last("photos", &[28, 28, 3]), "--out", &out], 1, "x.transpose(0, 3, 1, 2)"),
            (&["train", &last("films", &[8, 28, 28, 1]), "--out", &out], 1, "x.transpose(0, 4, 1, 2, 3)"),
            (&["train", &last("series", &[40, 2]), "--out", &out], 1, "x.transpose(0, 2, 1)"),
        ],
        &out,
    );
    let mut arguments = place.train(&good, "run");
    arguments[3] = "1".to_string();
    assert!(run(&as_str(&arguments)).status.success());
    let folder = place.path("run");
    let shape = place.npy("shape.npy", &other);
    let picture = place.path("picture.png");
    let grey = Tensor::from_vec(vec![9u8; 16], [1, 4, 4]).unwrap();
    rasgo::formats::write_png(&Disk::default(), &picture, &grey).unwrap();
    let infinite = place.npy("infinite.npy", &changed(1234, f32::INFINITY));
    let video = place.safetensors("video.safetensors", &with_test(videos(20, 0), videos(20, 0)), "");
    let no_folder = place.path("no/where.npy");
    let many = two("many", &x, &y_of((0..60).map(|i| i % 3).collect()));
    let fine = place.npy("fine.npy", &x);
    let turned = place.npy("turned.npy", &x.transpose(1, 2).unwrap());
    let turned_one = place.npy("one.npy", &Tensor::zeros([40, 2], DType::F32).unwrap());
    refused(
        &[
            (&["predict", &folder, &shape], 1, "an array of shape [60, 2, 41], and the model takes (2, 40)"),
            (&["predict", &folder, &picture], 1, "the model takes sequences, no images"),
            (&["predict", &folder, &infinite], 1, "sample 15 of the array"),
            (&["predict", &folder, &fine, "--invert"], 1, "--invert is for images"),
            (&["predict", &folder, &fine, "--out", "probabilities.csv"], 2, ".npy"),
            (&["predict", &folder, &fine, "--out", &no_folder], 1, "where.npy"),
            (&["predict", &folder, &turned], 1, "its axes stand in another order: x.transpose(0, 2, 1)"),
            (&["predict", &folder, &turned_one], 1, "its axes stand in another order: x.transpose(1, 0)"),
            (&["predict", &folder, &last("last", &[40, 2])], 1, "x.transpose(0, 2, 1)"),
            (&["predict", &folder, &format!("{}:train:0", last("last", &[40, 2]))], 1, "x.transpose(1, 0)"),
            (&["predict", &folder, &format!("{good}:test:0")], 1, "no test part"),
            (&["predict", &folder, &format!("{good}:foo:0")], 1, "has train, and no test part"),
            (&["predict", &folder, &format!("{good}:3")], 1, &format!("write {good}:train:3")),
            (&["predict", &folder, "mnist:foo:3"], 1, "hint: mnist has train and test"),
            (&["predict", &folder, "mnist:3"], 1, "write mnist:train:3"),
            (&["predict", &folder, "nowhere.npz:3"], 1, "write nowhere.npz:train:3"),
            (&["predict", &folder, &format!("{good}:train:60")], 1, "no sample 60"),
            (
                &["eval", &folder, &video],
                1,
                &format!("{video}: videos of [1, 5, 9, 12], and the model takes"),
            ),
            (&["eval", &folder, &video], 1, &format!("train one on these: rasgo train {video}")),
            (
                &["eval", &folder, &many],
                1,
                &format!("{many}: the data has 3 classes, the model 2\nhint: give data"),
            ),
            (&["eval", &folder, &last("last", &[40, 2])], 1, "last.npz: sequences of [40, 2]"),
            (&["eval", &folder, &last("last", &[40, 2])], 1, "x.transpose(0, 2, 1)"),
        ],
        &out,
    );
}
