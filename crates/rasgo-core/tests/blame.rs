//! Errors name what the program called and the line that called it, however deep inside it was refused.

use rasgo_core::op::{Grads, Input, Mask, Metas, Op, Output, Saved, apply};
use rasgo_core::ops::{
    DiceLossOptions, FocalLossOptions, InterpolateMode, InterpolateOptions, InterpolateTo,
};
use rasgo_core::ops::{KlDivOptions, LossOptions, PadMode, Reduction};
use rasgo_core::reach::Coverage;
use rasgo_core::{DType, Error, ErrorKind, Result, Tensor, grad};

fn of(dtype: DType) -> Tensor {
    Tensor::full([2, 3], 0.5, dtype).unwrap()
}

fn assert_blames<T>(result: Result<T>, op: &str, line: u32) {
    let error = result.err().expect("it is refused");
    assert_eq!(error.op_name(), Some(op), "{error}");
    let at = error.location().expect("it has a line");
    assert!(at.file().ends_with("blame.rs") && at.line() == line, "{error}, not line {line}");
}

#[test]
fn an_operation_made_of_others_is_the_one_that_is_named() {
    let (x, wide) = (of(DType::F32), of(DType::F64));
    let weighted = LossOptions { weight: Some(wide.clone()), reduction: Reduction::Mean };
    let log = KlDivOptions { log_target: true, ..Default::default() };
    assert_blames(x.dice_loss(&wide, DiceLossOptions::default()), "dice_loss", line!());
    assert_blames(x.sigmoid_focal_loss(&wide, FocalLossOptions::default()), "sigmoid_focal_loss", line!());
    assert_blames(x.cross_entropy(&wide, Default::default()), "cross_entropy", line!());
    assert_blames(x.mse_loss(&x, weighted.clone()), "mse_loss", line!());
    assert_blames(x.binary_cross_entropy(&x, weighted), "binary_cross_entropy", line!());
    assert_blames(x.kl_div(&wide, log), "kl_div", line!());
    assert_blames(x.max(5, false), "max", line!());
    assert_blames(Tensor::zeros([0, 3], DType::F32).unwrap().min(0, false), "min", line!());
    assert_blames(of(DType::I64).std(&[], 1.0, false), "std", line!());
    assert_blames(x.norm(2.0, &[4], false), "norm", line!());
    assert_blames(x.logsumexp(&[4], false), "logsumexp", line!());
}

/// y = x, whose gradient calls an operation that refuses.
#[derive(Debug)]
struct Refusing;

impl Op for Refusing {
    fn name(&self) -> &'static str {
        "refusing"
    }

    fn infer(&self, inputs: &[rasgo_core::Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        outputs[0].values::<f32>().copy_from_slice(inputs[0].values::<f32>());
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        Ok(Grads::from_iter([Some(dy.reshape([7])?)]))
    }
}

#[test]
fn a_gradient_that_is_refused_names_the_line_of_its_operation() {
    let x = of(DType::F32).requires_grad();
    let (y, line) = (apply(Refusing, [x.clone()]).unwrap(), line!());
    assert_blames(grad(&y.sum().unwrap(), &[&x], true), "refusing", line);
    assert_blames(y.sum().unwrap().backward(), "refusing", line);
}

#[test]
fn an_operation_of_too_many_inputs_is_refused() {
    let many = vec![of(DType::F32); Mask::MOST + 1];
    assert_blames(apply(Refusing, many), "refusing", line!());
}

#[test]
fn values_that_no_memory_holds_are_refused_and_none_cost_nothing() {
    let is_memory = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
        assert!(error.to_string().contains("GB"), "{error}");
    };
    is_memory(Tensor::zeros([1 << 40, 64], DType::F32).unwrap_err());
    let none = Tensor::zeros([0, 1 << 44], DType::F32).unwrap();
    is_memory(none.sum_axes(&[0], false).unwrap_err());
    let image = Tensor::zeros([1, 1, 4, 4], DType::F32).unwrap();
    is_memory(image.pad(&[(1 << 22, 0), (1 << 22, 0)], PadMode::Constant(0.0)).unwrap_err());
    let empty = Tensor::zeros([0, 1, 4, 4], DType::F32).unwrap();
    let wide = empty.pad(&[(0, 0), (1 << 31, 0)], PadMode::Constant(0.0)).unwrap();
    assert_eq!(wide.shape()[3], (1 << 31) + 4);
    let to = InterpolateTo::Size([1, 4, 1 << 31]);
    let wide = empty.interpolate(&InterpolateOptions::new(to, InterpolateMode::Linear)).unwrap();
    assert_eq!(wide.shape()[3], 1 << 31);
}

#[test]
fn what_is_too_long_to_list_has_no_coverage() {
    let seen = |length: usize| {
        let x = Tensor::shape_only([1, 1, length], DType::F32).requires_grad();
        let to = InterpolateTo::Size([1, 1, length / 2]);
        let y = x.interpolate(&InterpolateOptions::new(to, InterpolateMode::Nearest)).unwrap();
        Coverage::of(&y, &x)
    };
    assert_eq!(seen(1 << 20).unwrap().share(), 0.5);
    assert_eq!(seen(1 << 22).unwrap_err().kind(), ErrorKind::Argument);
}
