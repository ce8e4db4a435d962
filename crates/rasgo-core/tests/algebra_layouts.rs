//! Every operation of the algebra gives the same values and gradients for a tensor however it came to be: plain,
//! channels-last, a part of another, or with its axes in another order.

use rasgo_core::random::Key;
use rasgo_core::{DType, Result, Tensor};

const SHAPE: [usize; 4] = [2, 3, 4, 5];

type Run = fn(&Tensor, &Tensor) -> Result<Tensor>;

fn normal(shape: &[usize], seed: u64) -> Tensor {
    let key = Key::new(seed, 5);
    Tensor::from_fn(shape, |x: &mut [f64]| {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = key.normal(i as u64));
    })
}

fn rows(values: &[i64]) -> Result<Tensor> {
    Tensor::from_slice(values, [values.len()])
}

/// A place on the axis for every element.
fn places(axis: usize) -> Tensor {
    let size = SHAPE[axis] as i64;
    Tensor::from_fn(SHAPE, |x: &mut [i64]| {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = (i as i64 * 7 + 3) % size);
    })
}

fn positive(x: &Tensor) -> Result<Tensor> {
    x.clone().square()? + 0.3
}

/// Operations of x, and of y of the same shape where they take two.
const TABLE: &[(&str, Run)] = &[
    ("add", |x, y| x + y),
    ("sub", |x, y| x - y),
    ("mul", |x, y| x * y),
    ("div", |x, y| x / positive(y)?),
    ("pow", |x, y| positive(x)?.pow(y)),
    ("maximum", |x, y| x.clone().maximum(y)),
    ("minimum", |x, y| x.clone().minimum(y)),
    ("add row", |x, y| x + y.narrow(3, 1, 1)?),
    ("mul channel", |x, y| x * y.narrow(0, 0, 1)?.narrow(2, 1, 1)?.narrow(3, 2, 1)?),
    ("number", |x, y| ((2.0 - x)? / 3.0)? * y),
    ("number over", |x, _| 2.0 / positive(x)?),
    ("pow number", |x, _| x.clone().pow(3.0)),
    ("exp", |x, _| x.clone().exp()),
    ("expm1", |x, _| x.clone().expm1()),
    ("log", |x, _| positive(x)?.log()),
    ("log2", |x, _| positive(x)?.log2()),
    ("log10", |x, _| positive(x)?.log10()),
    ("log1p", |x, _| positive(x)?.log1p()),
    ("sqrt", |x, _| positive(x)?.sqrt()),
    ("rsqrt", |x, _| positive(x)?.rsqrt()),
    ("reciprocal", |x, _| positive(x)?.reciprocal()),
    ("square", |x, _| x.clone().square()),
    ("abs", |x, _| x.clone().abs()),
    ("neg", |x, _| -x),
    ("sin", |x, _| x.clone().sin()),
    ("cos", |x, _| x.clone().cos()),
    ("erf", |x, _| x.clone().erf()),
    ("sign", |x, y| x.clone().sign()? * y),
    ("floor", |x, y| x.clone().floor()? * y),
    ("ceil", |x, y| x.clone().ceil()? * y),
    ("round", |x, y| x.clone().round()? * y),
    ("trunc", |x, y| x.clone().trunc()? * y),
    ("clamp", |x, _| x.clone().clamp(-0.5, 0.7)),
    ("where", |x, y| x.gt(y)?.where_(x, y)),
    ("masked_fill", |x, y| x.masked_fill(&y.lt(0.0)?, 2.0)),
    ("tril", |x, _| x.tril(1)),
    ("triu", |x, _| x.triu(-1)),
    ("eq", |x, y| x.eq(y)?.to_dtype(DType::F64)? * x),
    ("logical_xor", |x, y| x.ge(0.0)?.logical_xor(&y.le(0.0)?)?.to_dtype(DType::F64)? * x),
    ("isfinite", |x, y| x.isfinite()?.to_dtype(DType::F64)? * y),
    ("sum", |x, _| x.sum_axes(&[1, -1], false)),
    ("mean", |x, _| x.mean_axes(&[0, 2], true)),
    ("var", |x, _| x.var(&[1], 1.0, false)),
    ("std", |x, _| x.std(&[2, 3], 0.0, false)),
    ("norm", |x, _| x.norm(2.0, &[1, 2], true)),
    ("norm of inf", |x, _| x.norm(f64::INFINITY, &[0, 3], true)),
    ("logsumexp", |x, _| x.logsumexp(&[1], false)),
    ("amax", |x, _| x.amax(&[1, 3], false)),
    ("amin", |x, _| x.amin(&[0], true)),
    ("max", |x, _| Ok(x.max(1, false)?.0)),
    ("min", |x, _| Ok(x.min(-1, true)?.0)),
    ("max of all", |x, _| x.max_all()),
    ("argmax", |x, y| x.argmax(1, true)?.to_dtype(DType::F64)? * y),
    ("argmin of all", |x, y| x.argmin(None, false)?.to_dtype(DType::F64)? * y),
    ("any", |x, y| x.gt(1.5)?.any(&[1, 2], true)?.to_dtype(DType::F64)? * y),
    ("all", |x, y| x.gt(-1.0)?.all(&[3], true)?.to_dtype(DType::F64)? * y),
    ("prod", |x, _| x.prod(1, false)),
    ("prod of all", |x, _| x.narrow(0, 1, 1)?.prod(None, false)),
    ("cumsum", |x, _| x.cumsum(1)),
    ("matmul", |x, y| x.matmul(&y.transpose(-1, -2)?)),
    ("bmm", |x, y| x.flatten_axes(0, 1)?.bmm(&y.flatten_axes(0, 1)?.transpose(1, 2)?)),
    ("cat", |x, y| Tensor::cat(&[x, y, x], 1)),
    ("stack", |x, y| Tensor::stack(&[x, y], 1)),
    ("narrow", |x, _| x.narrow(1, 1, 2)),
    ("select", |x, _| x.select(-2, 3)),
    ("split", |x, y| &x.split(&[1, 2], 1)?[1] * y.narrow(1, 0, 1)?),
    ("chunk", |x, _| Ok(x.chunk(2, 3)?.swap_remove(0))),
    ("index_select", |x, _| x.index_select(1, &rows(&[2, 0, 2])?)),
    ("index_add", |x, y| x.index_add(2, &rows(&[3, 3, 0, 1])?, y)),
    ("gather", |x, _| x.gather(1, &places(1))),
    ("scatter_add", |x, y| x.scatter_add(3, &places(3), y)),
    ("scatter", |x, y| x.scatter(2, &places(2).narrow(2, 0, 1)?, y)),
    ("permute", |x, _| x.permute(&[2, 0, -1, 1])),
    ("transpose", |x, _| x.transpose(1, 3)),
    ("flip", |x, _| x.flip(&[1, 2])),
    ("roll", |x, _| x.roll(&[1, -2], &[1, 3])),
    ("reshape", |x, _| x.view(&[5, -1])),
    ("flatten", |x, _| x.flatten(1)),
    ("unflatten", |x, _| x.unflatten(2, &[2, -1])),
    ("squeeze", |x, _| x.unsqueeze(2)?.squeeze(&[])),
    ("broadcast_to", |x, _| x.expand(&[2, -1, -1, -1, -1])),
    ("repeat", |x, _| x.repeat(&[1, 2, 1, 3])),
    ("sort", |x, _| Ok(x.sort(1, true)?.0)),
    ("topk", |x, _| Ok(x.topk(2, 2, false)?.0)),
];

/// The same values, come by in other ways.
fn ways(x: &Tensor) -> Vec<(&'static str, Tensor)> {
    let wide = Tensor::cat(&[&normal(&[1, 3, 4, 5], 8), x, &normal(&[1, 3, 4, 5], 9)], 0).unwrap();
    let other = x.permute(&[3, 1, 0, 2]).unwrap();
    vec![
        ("channels-last", x.clone().to_channels_last()),
        ("narrowed", wide.narrow(0, 1, 2).unwrap()),
        ("narrowed channels-last", wide.to_channels_last().narrow(0, 1, 2).unwrap()),
        ("permuted", other.permute(&[2, 1, 3, 0]).unwrap()),
    ]
}

/// The values, and the gradients of both tensors for a drawn gradient of the output.
fn values(run: Run, x: &Tensor, y: &Tensor) -> Vec<Vec<f64>> {
    let (x, y) = (x.detach().requires_grad(), y.detach().requires_grad());
    let output = run(&x, &y).unwrap();
    let mut found = vec![output.to_vec::<f64>().unwrap()];
    let grads = output.backward_with(normal(output.shape(), 3)).unwrap();
    for leaf in [&x, &y] {
        found.extend(grads.get(leaf).map(|grad| grad.to_vec::<f64>().unwrap()));
    }
    found
}

#[test]
fn every_operation_gives_the_same_whatever_the_way_its_input_came_by() {
    let (x, y) = (normal(&SHAPE, 1), normal(&SHAPE, 2));
    for &(name, run) in TABLE {
        let want = values(run, &x, &y);
        for (way, other) in ways(&x) {
            for y in [y.clone(), y.clone().to_channels_last()] {
                let found = values(run, &other, &y);
                assert_eq!(found.len(), want.len(), "{name}, {way}");
                for (found, want) in found.iter().zip(&want) {
                    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * b.abs().max(1.0);
                    assert!(found.len() == want.len() && found.iter().zip(want).all(near), "{name}, {way}");
                }
            }
        }
    }
}
