//! Bad calls, one by one: what each says. `errors.txt` holds the messages; after a change of one, write it again with
//! `RASGO_WRITE_SNAPSHOTS=1 cargo test -p rasgo --test errors`.

use rasgo::ops::{
    AvgPoolOptions, BatchNormOptions, ConvOptions, ConvTransposeOptions, CrossEntropyOptions,
    InterpolateMode, InterpolateOptions, InterpolateTo, LossOptions, MaxPoolOptions, MaxUnpoolOptions,
    PadMode, UnfoldOptions,
};
use rasgo::prelude::*;
use rasgo::{Error, ErrorKind};

/// A layer that stands alone is called after how many were made before it, by whichever test.
fn without_numbers_of_layers(text: &str) -> String {
    let mut parts = text.split('#');
    let mut shown = parts.next().unwrap_or_default().to_string();
    for part in parts {
        shown.push('#');
        shown.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    shown
}

/// A call, and the error that it must give.
struct Row {
    call: &'static str,
    error: Error,
    line: u32,
}

/// Evaluates calls, each of which must be refused from its own line.
macro_rules! refused {
    ($rows:ident: $($call:expr;)*) => {$(
        let line = line!();
        let error = match $call {
            Ok(_) => panic!("{} is accepted", stringify!($call)),
            Err(error) => error,
        };
        $rows.push(Row { call: stringify!($call), error, line });
    )*};
}

fn f32s(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32).unwrap()
}

fn i64s(values: &[i64]) -> Tensor {
    Tensor::from_vec(values.to_vec(), [values.len()]).unwrap()
}

fn convolutions(rows: &mut Vec<Row>) {
    let x = f32s(&[2, 3, 8, 4]);
    let w = f32s(&[5, 3, 3, 2]);
    let conv = |w: &[usize], options: ConvOptions| x.conv(&f32s(w), None, &options);
    refused! { rows:
        f32s(&[3, 8, 4]).conv(&w, None, &ConvOptions::default());
        f32s(&[2, 3, 8]).conv(&w, None, &ConvOptions::default());
        conv(&[5, 4, 3, 3], ConvOptions::default());
        conv(&[5, 3, 9, 3], ConvOptions::default());
        conv(&[5, 3, 3, 3], ConvOptions { groups: 2, ..Default::default() });
        conv(&[5, 3, 3, 3], ConvOptions { groups: 0, ..Default::default() });
        conv(&[5, 3, 3, 3], ConvOptions { stride: [1, 0, 1], ..Default::default() });
        conv(&[5, 3, 0, 3], ConvOptions::default());
        conv(&[5, 3, 3, 2], ConvOptions { dilation: [1, 4, 1], ..Default::default() });
        x.conv(&w, Some(&f32s(&[4])), &ConvOptions::default());
        x.conv(&w.to_dtype(DType::F64).unwrap(), None, &ConvOptions::default());
        x.to_dtype(DType::I64).unwrap().conv(&w, None, &ConvOptions::default());
        nn::Conv2d::new(3, 5, 3).padding(nn::Padding::Same).stride(2).forward(x.clone());
        nn::Conv1d::new(3, 5, 3).forward(x.clone());
    }
}

fn transposed_convolutions(rows: &mut Vec<Row>) {
    let (x, w) = (f32s(&[2, 6, 5, 4]), f32s(&[6, 2, 3, 2]));
    let call = |options: ConvTransposeOptions| x.conv_transpose(&w, None, &options);
    refused! { rows:
        x.conv_transpose(&f32s(&[5, 2, 3, 2]), None, &ConvTransposeOptions::default());
        f32s(&[6, 5, 4]).conv_transpose(&w, None, &ConvTransposeOptions::default());
        x.conv_transpose(&w, Some(&f32s(&[3])), &ConvTransposeOptions::default());
        call(ConvTransposeOptions { groups: 4, ..Default::default() });
        call(ConvTransposeOptions { output_padding: [0, 1, 0], ..Default::default() });
        call(ConvTransposeOptions { stride: [1, 2, 0], ..Default::default() });
        call(ConvTransposeOptions { padding: [0, 4, 0], ..Default::default() });
        call(ConvTransposeOptions { output_size: Some([1, 30, 5]), stride: [1, 2, 1], ..Default::default() });
    }
}

fn pools(rows: &mut Vec<Row>) {
    let x = f32s(&[2, 3, 8, 4]);
    let max = |kernel, stride, padding| {
        x.max_pool(&MaxPoolOptions { stride, padding, ..MaxPoolOptions::new(kernel) })
    };
    let avg = |options: AvgPoolOptions| x.avg_pool(&options);
    let avg_2 = AvgPoolOptions::new([1, 2, 2]);
    let indices = Tensor::full([2, 3, 8, 4], 130.0, DType::I64).unwrap();
    refused! { rows:
        x.max_pool(&MaxPoolOptions::new([1, 3, 5]));
        x.max_pool(&MaxPoolOptions { dilation: [1, 4, 1], ..MaxPoolOptions::new([1, 3, 2]) });
        max([1, 3, 2], [1, 1, 1], [0, 2, 0]);
        max([1, 3, 2], [1, 0, 1], [0, 0, 0]);
        max([1, 0, 2], [1, 1, 1], [0, 0, 0]);
        f32s(&[2, 3]).max_pool(&MaxPoolOptions::new([1, 2, 2]));
        avg(AvgPoolOptions::new([1, 9, 2]));
        avg(AvgPoolOptions { padding: [0, 0, 2], ..avg_2.clone() });
        avg(AvgPoolOptions { divisor_override: Some(0), ..avg_2.clone() });
        f32s(&[2, 3, 0, 4]).avg_pool(&AvgPoolOptions::new([1, 1, 2]));
        f32s(&[2, 3, 0, 4]).adaptive_avg_pool([1, 1, 1]);
        f32s(&[2, 3]).adaptive_max_pool([1, 1, 1]);
        x.max_unpool(&indices, &MaxUnpoolOptions::new([1, 2, 2]));
        x.max_unpool(&i64s(&[1, 2]), &MaxUnpoolOptions::new([1, 2, 2]));
        x.max_unpool(&x, &MaxUnpoolOptions::new([1, 2, 2]));
        x.unfold(&UnfoldOptions::new([9, 2]));
        f32s(&[3, 8, 4, 2, 2]).unfold(&UnfoldOptions::new([2, 2]));
        f32s(&[2, 9, 16]).fold([6, 5], &UnfoldOptions::new([3, 3]));
        f32s(&[2, 8, 16]).fold([6, 6], &UnfoldOptions::new([3, 3]));
    }
}

fn sizes(rows: &mut Vec<Row>) {
    let x = f32s(&[2, 3, 8, 4]);
    let to = |size, mode| x.interpolate(&InterpolateOptions::new(InterpolateTo::Size(size), mode));
    refused! { rows:
        x.pad(&[(0, 0), (0, 0), (8, 0), (0, 0)], PadMode::Reflect);
        x.pad(&[(0, 0), (0, 0), (9, 0), (0, 0)], PadMode::Circular);
        x.pad(&[(0, 0), (0, 0), (-5, -4), (0, 0)], PadMode::Constant(0.0));
        PadMode::named("mirror", 0.0);
        to([1, 0, 4], InterpolateMode::Nearest);
        f32s(&[2, 3]).interpolate(&InterpolateOptions::new(InterpolateTo::Size([1, 4, 4]), InterpolateMode::Linear));
        InterpolateMode::named("bilinear", 3);
        InterpolateMode::named("lanczos", 2);
        x.pixel_shuffle(2);
        x.pixel_unshuffle(3);
        x.pixel_shuffle(0);
    }
}

fn products(rows: &mut Vec<Row>) {
    let x = f32s(&[2, 400]);
    refused! { rows:
        x.linear(&f32s(&[120, 256]), None);
        x.linear(&f32s(&[120, 400]), Some(&f32s(&[12])));
        x.matmul(&f32s(&[3, 5]));
        f32s(&[2, 3, 4]).matmul(&f32s(&[5, 4, 3]));
        f32s(&[5, 4]).embedding(&i64s(&[0, 5]), None);
    }
}

fn algebra(rows: &mut Vec<Row>) {
    let x = f32s(&[2, 400]);
    refused! { rows:
        x.reshape([3, 300]);
        &f32s(&[2, 3]) + &f32s(&[4, 3]);
        &x * &x.to_dtype(DType::F64).unwrap();
        x.sum_axes(&[2], false);
        x.permute(&[0, 0]);
        x.narrow(1, 399, 2);
        x.transpose(0, 2);
        x.gather(1, &Tensor::full([2, 1], 400.0, DType::I64).unwrap());
        x.index_select(1, &i64s(&[0, -1]));
        Tensor::cat(&[x.clone(), f32s(&[2, 3, 1])], 0);
        Tensor::stack(&[x.clone(), f32s(&[2, 401])], 0);
        x.topk(401, 1, true);
        f32s(&[2, 0]).argmax(1, false);
        i64s(&[0, 3]).one_hot(Some(3));
        x.clone().dropout(1.5, rasgo::random::Key::new(1, 2));
    }
}

fn losses(rows: &mut Vec<Row>) {
    let x = f32s(&[2, 400]);
    refused! { rows:
        x.cross_entropy(&i64s(&[1, 400]), CrossEntropyOptions::default());
        x.cross_entropy(&i64s(&[1, 2, 3]), CrossEntropyOptions::default());
        x.cross_entropy(&i64s(&[1, 2]), CrossEntropyOptions { label_smoothing: 1.5, ..Default::default() });
        x.mse_loss(&f32s(&[3, 400]), LossOptions::default());
        (&x + 2.0).unwrap().binary_cross_entropy(&x, LossOptions::default());
        x.smooth_l1_loss(&x, -1.0, LossOptions::default());
    }
}

fn norms(rows: &mut Vec<Row>) {
    let x = f32s(&[2, 6, 5, 4]);
    refused! { rows:
        x.group_norm(4, None, None, 1e-5);
        x.group_norm(3, Some(&f32s(&[5])), None, 1e-5);
        x.layer_norm([5, 3], None, None, 1e-5);
        f32s(&[1, 6, 1, 1]).batch_norm(None, None, BatchNormOptions::default());
        x.batch_norm(Some(&f32s(&[5])), None, BatchNormOptions::default());
        x.prelu(&f32s(&[5]));
        x.softmax(4);
    }
}

#[test]
fn each_bad_call_says_what_is_wrong_with_which_numbers_and_what_would_mend_it() {
    let mut rows = Vec::new();
    convolutions(&mut rows);
    transposed_convolutions(&mut rows);
    pools(&mut rows);
    sizes(&mut rows);
    products(&mut rows);
    algebra(&mut rows);
    losses(&mut rows);
    norms(&mut rows);
    let mut text = String::new();
    let mut wrong = Vec::new();
    for Row { call, error, line } in &rows {
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("line {line}: {call}: {what}: {error}"));
            }
        };
        expect(error.op_name().is_some_and(|name| !name.is_empty()), "no operation is named");
        expect(error.hint_text().is_some(), "no way to mend it");
        let at = error.location();
        expect(at.is_some_and(|at| at.file() == file!()), "not the caller's file");
        let shows = |c: char| c.is_ascii_digit() || c == '"';
        expect(error.summary().contains(shows) || error.kind() == ErrorKind::DType, "no values");
        let call = call.split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!(
            "{call}\n    {}\n    {}\n\n",
            without_numbers_of_layers(&error.summary()),
            error.hint_text().unwrap_or("")
        ));
    }
    assert!(rows.len() >= 80, "{} bad calls", rows.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/errors.txt");
    if std::env::var_os("RASGO_WRITE_SNAPSHOTS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    for (now, before) in text.lines().zip(kept.lines()) {
        assert_eq!(now, before);
    }
    assert_eq!(text.lines().count(), kept.lines().count());
}

#[test]
fn an_error_inside_a_model_names_the_layer_and_the_line_that_called_the_model() {
    let model = nn::Sequential::new()
        .add(nn::Conv2d::new(1, 8, 3))
        .add(nn::Flatten::new())
        .add(nn::Linear::new(7, 2));
    model.name_layers();
    let error = model.forward(f32s(&[1, 1, 5, 5])).unwrap_err();
    assert_eq!(error.layer_path(), Some("2"));
    assert_eq!((error.location().unwrap().file(), error.location().unwrap().line()), (file!(), line!() - 2));
    let model = rasgo::zoo::named("lenet5").unwrap().architecture().build().unwrap();
    let error = model.forward(f32s(&[1, 3, 28, 28])).unwrap_err();
    assert_eq!((error.location().unwrap().file(), error.location().unwrap().line()), (file!(), line!() - 1));
}
