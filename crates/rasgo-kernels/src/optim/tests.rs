use super::*;
use crate::checks::{assert_close, numbers, same_everywhere, wide};

const LENS: [usize; 5] = [0, 1, 9, 100, 40_000];

#[test]
fn sgd_follows_pytorch_for_every_option() {
    for len in LENS {
        for (momentum, nesterov, dampening) in [(0.0, false, 0.0), (0.9, false, 0.1), (0.9, true, 0.0)] {
            let o = Sgd { lr: 0.05, momentum, dampening, nesterov, weight_decay: 0.01 };
            let (start, grads) = (numbers::<f32>(1, len), [numbers::<f32>(2, len), numbers(3, len)]);
            let (mut p, mut v) = (wide(&start), vec![0.0; len]);
            for (step, grad) in grads.iter().enumerate() {
                for i in 0..len {
                    let g = f64::from(grad[i]) + 0.01 * p[i];
                    v[i] = if step == 0 { g } else { momentum * v[i] + (1.0 - dampening) * g };
                    let along = if nesterov { g + momentum * v[i] } else { v[i] };
                    p[i] -= 0.05 * if momentum == 0.0 { g } else { along };
                }
            }
            let got = same_everywhere(|| {
                let (mut p, mut v) = (start.clone(), vec![f32::NAN; len]);
                for (step, grad) in grads.iter().enumerate() {
                    sgd(&o, &mut p, grad, (momentum != 0.0).then_some(&mut v[..]), step == 0);
                }
                p
            });
            assert_close(&got, &p, 1e-6, &format!("{o:?}"));
        }
    }
}

#[test]
fn adam_and_adamw_follow_pytorch() {
    for len in LENS {
        for decoupled in [false, true] {
            let (start, grads) = (numbers::<f32>(1, len), [numbers::<f32>(2, len), numbers(3, len)]);
            let options = |step: i32| Adam {
                lr: 0.01,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: 0.1,
                decoupled,
                bias_correction1: 1.0 - 0.9f64.powi(step),
                bias_correction2: 1.0 - 0.999f64.powi(step),
            };
            let (mut p, mut m, mut v) = (wide(&start), vec![0.0; len], vec![0.0; len]);
            for (step, grad) in grads.iter().enumerate() {
                let o = options(step as i32 + 1);
                for i in 0..len {
                    let g = f64::from(grad[i]) + if decoupled { 0.0 } else { 0.1 * p[i] };
                    p[i] *= if decoupled { 1.0 - 0.01 * 0.1 } else { 1.0 };
                    m[i] = 0.9 * m[i] + 0.1 * g;
                    v[i] = 0.999 * v[i] + 0.001 * g * g;
                    let root = (v[i] / o.bias_correction2).sqrt() + 1e-8;
                    p[i] -= 0.01 * (m[i] / o.bias_correction1) / root;
                }
            }
            let got = same_everywhere(|| {
                let (mut p, mut m, mut v) = (start.clone(), vec![0.0; len], vec![0.0; len]);
                for (step, grad) in grads.iter().enumerate() {
                    adam(&options(step as i32 + 1), &mut p, grad, &mut m, &mut v, None);
                }
                p
            });
            assert_close(&got, &p, 2e-6, &format!("decoupled {decoupled}"));
        }
    }
}

#[test]
fn the_moving_average_and_the_scale_are_exact() {
    for len in LENS {
        let (a, b) = (numbers::<f32>(1, len), numbers::<f32>(2, len));
        let got = same_everywhere(|| {
            let mut mean = a.clone();
            ema(0.99, &mut mean, &b);
            scale_in_place(&mut mean, 0.5);
            mean
        });
        let want: Vec<f64> =
            a.iter().zip(&b).map(|(a, b)| 0.5 * (0.99 * f64::from(*a) + 0.01 * f64::from(*b))).collect();
        assert_close(&got, &want, 1e-6, "ema");
    }
}

#[test]
fn amsgrad_divides_by_the_largest_mean_so_far() {
    for len in LENS {
        let (start, grads) =
            (numbers::<f32>(1, len), [numbers::<f32>(2, len), vec![0.01; len], numbers(3, len)]);
        let options = |step: i32| Adam {
            lr: 0.01,
            beta1: 0.9,
            beta2: 0.5,
            eps: 1e-8,
            weight_decay: 0.1,
            decoupled: false,
            bias_correction1: 1.0 - 0.9f64.powi(step),
            bias_correction2: 1.0 - 0.5f64.powi(step),
        };
        let (mut p, mut m, mut v, mut largest) =
            (wide(&start), vec![0.0; len], vec![0.0; len], vec![0.0f64; len]);
        for (step, grad) in grads.iter().enumerate() {
            let o = options(step as i32 + 1);
            for i in 0..len {
                let g = f64::from(grad[i]) + 0.1 * p[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.5 * v[i] + 0.5 * g * g;
                largest[i] = largest[i].max(v[i]);
                p[i] -=
                    0.01 * (m[i] / o.bias_correction1) / ((largest[i] / o.bias_correction2).sqrt() + 1e-8);
            }
        }
        let got = same_everywhere(|| {
            let (mut p, mut m, mut v, mut largest) =
                (start.clone(), vec![0.0; len], vec![0.0; len], vec![0.0; len]);
            for (step, grad) in grads.iter().enumerate() {
                adam(&options(step as i32 + 1), &mut p, grad, &mut m, &mut v, Some(&mut largest));
            }
            p
        });
        assert_close(&got, &p, 2e-6, "amsgrad");
    }
}

#[test]
fn rmsprop_follows_pytorch_for_every_option() {
    for len in LENS {
        for (momentum, centered) in [(0.0, false), (0.9, false), (0.0, true), (0.9, true)] {
            let o = RmsProp { lr: 0.01, alpha: 0.9, eps: 1e-3, weight_decay: 0.1, momentum };
            let (start, grads) = (numbers::<f32>(1, len), [numbers::<f32>(2, len), numbers(3, len)]);
            let mut p = wide(&start);
            let (mut s, mut a, mut b) = (vec![0.0f64; len], vec![0.0; len], vec![0.0; len]);
            for grad in &grads {
                for i in 0..len {
                    let g = f64::from(grad[i]) + 0.1 * p[i];
                    s[i] = 0.9 * s[i] + 0.1 * g * g;
                    a[i] = 0.9 * a[i] + 0.1 * g;
                    let root = if centered { (s[i] - a[i] * a[i]).sqrt() } else { s[i].sqrt() };
                    b[i] = momentum * b[i] + g / (root + 1e-3);
                    p[i] -= 0.01 * b[i];
                }
            }
            let got = same_everywhere(|| {
                let (mut p, mut s, mut a, mut b) =
                    (start.clone(), vec![0.0; len], vec![0.0; len], vec![0.0; len]);
                for grad in &grads {
                    let state = RmsPropState {
                        square: &mut s,
                        mean: centered.then_some(&mut a[..]),
                        step: (momentum != 0.0).then_some(&mut b[..]),
                    };
                    rmsprop(&o, &mut p, grad, state);
                }
                p
            });
            assert_close(&got, &p, 1e-5, &format!("{o:?} {centered}"));
        }
    }
}
