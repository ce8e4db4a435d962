use super::*;
use crate::init::Init;
use crate::nn::Parameter;

/// Steps on f(w) = sum of c w^2 / 2, in golden values of PyTorch or of the formula in NumPy, in f64.
fn descend(opt: &mut Optimizer, parameter: &mut Parameter, curvature: &[f32], steps: usize) {
    let c = Tensor::from_slice(curvature, parameter.shape()).unwrap();
    for _ in 0..steps {
        let loss = (parameter.tensor().square().unwrap() * &c).unwrap().sum().unwrap().scale(0.5).unwrap();
        let grads = loss.backward().unwrap();
        opt.step(parameter, grads).unwrap();
    }
}

fn parameter(values: &[f32], shape: &[usize]) -> Parameter {
    let mut parameter = Parameter::new(shape, Init::Zeros);
    parameter.set(Tensor::from_slice(values, shape).unwrap()).unwrap();
    parameter
}

#[track_caller]
fn near(parameter: &Parameter, expected: &[f64]) {
    let found = parameter.tensor().to_f64_vec().unwrap();
    assert_eq!(found.len(), expected.len());
    let same = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6 * b.abs().max(1.0));
    assert!(same, "{found:?} are not {expected:?}");
}

#[test]
fn updates_follow_pytorch() {
    let after = |mut opt: Optimizer, expected: [f64; 3]| {
        let mut w = parameter(&[1.0, -2.0, 0.5], &[3]);
        descend(&mut opt, &mut w, &[1.0, 0.1, 3.0], 4);
        near(&w, &expected);
    };
    after(Optimizer::rmsprop(0.01), [0.7353890542033931, -1.7277139138699613, 0.2528255234999629]);
    let rule = Rule::RmsProp { alpha: 0.9, eps: 1e-3, momentum: 0.8, centered: true };
    let opt = Optimizer::new(rule, 0.01).weight_decay(0.1);
    after(opt, [0.7830049937017022, -1.7816079191368803, 0.28804348740796765]);
    let rule = Rule::Sgd { momentum: 0.9, dampening: 0.3, nesterov: false };
    let opt = Optimizer::new(rule, 0.1).weight_decay(0.1);
    after(opt, [0.29055950262999997, -1.71224833376, -0.27012079948500006]);
    let rule = Rule::Adam { betas: (0.9, 0.5), eps: 1e-8, amsgrad: true };
    after(Optimizer::new(rule, 0.1), [0.5955521781473809, -1.5951738752330917, 0.1139801225284584]);
    let rule = Rule::AdamW { betas: (0.9, 0.5), eps: 1e-8, amsgrad: true };
    let opt = Optimizer::new(rule, 0.1).weight_decay(0.01);
    after(opt, [0.5923114852016643, -1.5877628379029995, 0.11274660960883401]);
}

/// `torch.optim.Muon` with `match_rms_adamw` comes within its bfloat16 of these: 0.98111, -1.92537, … and 0.99177, -1.94912,
/// ….
#[test]
fn muon_follows_its_formula_for_matrices_and_filters() {
    let start = [1.0, -2.0, 0.5, 0.25, -0.75, 1.5, 2.0, -0.5];
    let curvature: Vec<f32> = (0..8u8).map(|i| 0.1 + 0.3 * f32::from(i)).collect();
    let cases: [(&[usize], [f64; 8]); 2] = [
        (
            &[2, 2, 2, 1],
            [
                0.9810523437643142,
                -1.9246762665897659,
                0.4607327244151807,
                0.2330401186076495,
                -0.7300984156032151,
                1.4575658897838144,
                1.934419003020164,
                -0.4830667157693823,
            ],
        ),
        (
            &[4, 2],
            [
                0.9918043058348422,
                -1.9490256507160664,
                0.48462412403565486,
                0.23578026652864068,
                -0.748456504324221,
                1.4216555184858142,
                1.923612067869337,
                -0.50102435314866,
            ],
        ),
    ];
    for (shape, expected) in cases {
        let mut w = parameter(&start, shape);
        descend(&mut Optimizer::muon(0.05), &mut w, &curvature, 3);
        near(&w, &expected);
    }
}

#[test]
fn muon_moves_vectors_as_adamw_does() {
    let mut w = [parameter(&[1.0, -2.0, 0.5], &[3]), parameter(&[1.0, -2.0, 0.5], &[3])];
    descend(&mut Optimizer::muon(0.05), &mut w[0], &[1.0, 0.1, 3.0], 3);
    descend(&mut Optimizer::adamw(0.05).weight_decay(0.1), &mut w[1], &[1.0, 0.1, 3.0], 3);
    assert_eq!(w[0].tensor().to_vec::<f32>().unwrap(), w[1].tensor().to_vec::<f32>().unwrap());
}

#[test]
fn every_rule_goes_on_from_its_state_to_the_bit() {
    let rules = [
        Rule::Sgd { momentum: 0.0, dampening: 0.0, nesterov: false },
        Rule::Sgd { momentum: 0.9, dampening: 0.2, nesterov: false },
        Rule::Adam { betas: (0.9, 0.99), eps: 1e-8, amsgrad: false },
        Rule::AdamW { betas: (0.9, 0.99), eps: 1e-8, amsgrad: true },
        Rule::RmsProp { alpha: 0.9, eps: 1e-8, momentum: 0.0, centered: false },
        Rule::RmsProp { alpha: 0.9, eps: 1e-8, momentum: 0.9, centered: true },
        Rule::Muon { momentum: 0.95, nesterov: true, betas: (0.9, 0.99), eps: 1e-8 },
    ];
    let values = [1.0, -2.0, 0.5, 0.25, -0.75, 1.5];
    for rule in rules {
        for shape in [&[6][..], &[3, 2]] {
            let make = || Optimizer::new(rule, 0.05).weight_decay(0.1);
            let (mut straight, mut w) = (make(), parameter(&values, shape));
            descend(&mut straight, &mut w, &[0.3; 6], 5);
            let (mut first, mut broken) = (make(), parameter(&values, shape));
            descend(&mut first, &mut broken, &[0.3; 6], 2);
            let mut second = make();
            second.load_state(&[(String::new(), shape.into())], &first.state()).unwrap();
            descend(&mut second, &mut broken, &[0.3; 6], 3);
            let bits = |w: &Parameter| w.tensor().to_vec::<f32>().unwrap();
            assert_eq!(bits(&w), bits(&broken), "{rule:?} {shape:?}");
        }
    }
}

/// What an optimiser says of the state of another, for one parameter of two numbers.
fn loads(mut into: Optimizer, state: &[(String, Tensor)]) -> Result<()> {
    into.load_state(&[("w".to_string(), [2].into())], state)
}

/// The state after two steps.
fn state_of(mut opt: Optimizer) -> Vec<(String, Tensor)> {
    let mut model = Named { w: parameter(&[1.0, 2.0], &[2]) };
    for _ in 0..2 {
        let grads = model.w.tensor().sum().unwrap().backward().unwrap();
        opt.step(&mut model, grads).unwrap();
    }
    opt.state()
}

#[derive(crate::nn::Module)]
struct Named {
    w: Parameter,
}

fn rmsprop(momentum: f64, centered: bool) -> Optimizer {
    Optimizer::new(Rule::RmsProp { alpha: 0.9, eps: 1e-8, momentum, centered }, 0.1)
}

#[test]
fn the_state_of_another_rule_is_refused() {
    let all = || {
        let amsgrad = Rule::Adam { betas: (0.9, 0.999), eps: 1e-8, amsgrad: true };
        [
            Optimizer::sgd(0.1),
            Optimizer::sgd(0.1).momentum(0.9).unwrap(),
            Optimizer::adam(0.1),
            Optimizer::new(amsgrad, 0.1),
            Optimizer::adamw(0.1),
            Optimizer::muon(0.1),
            rmsprop(0.0, false),
            rmsprop(0.9, false),
            rmsprop(0.0, true),
            rmsprop(0.9, true),
        ]
    };
    for (i, from) in all().into_iter().enumerate() {
        let state = state_of(from);
        for (j, into) in all().into_iter().enumerate() {
            // An optimiser that has kept nothing of a parameter can be continued with more.
            let expected = i == j || (i, j) == (0, 1);
            assert_eq!(loads(into, &state).is_ok(), expected, "{i} into {j}");
        }
    }
    let error = loads(Optimizer::adamw(0.1), &state_of(Optimizer::adam(0.1))).unwrap_err();
    assert!(error.to_string().contains("is of adam, and this optimiser is adamw"), "{error}");
}

#[test]
fn a_state_with_anything_unknown_missing_or_broken_is_refused_and_changes_nothing() {
    let good = state_of(Optimizer::adam(0.1));
    assert_eq!(
        good.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["steps", "rule", "w/steps", "w/exp_avg", "w/exp_avg_sq"]
    );
    let changed = |name: &str, value: Option<Tensor>| {
        let mut state = good.clone();
        state.retain(|(own, _)| own != name);
        state.extend(value.map(|value| (name.to_string(), value)));
        state
    };
    let zeros = |dtype| Tensor::zeros([2], dtype).unwrap();
    let cases = [
        (changed("v/exp_avg", Some(zeros(DType::F32))), "has v/exp_avg, of no parameter"),
        (changed("w/max_exp_avg_sq", Some(zeros(DType::F32))), "has w/max_exp_avg_sq, of no parameter"),
        (changed("steps", None), "without its steps"),
        (changed("steps", Some(Tensor::scalar(-3i64))), "steps of the checkpoint is [-3.0]"),
        (changed("w/steps", Some(Tensor::scalar(-1i64))), "w/steps of the checkpoint is [-1.0]"),
        (changed("w/steps", Some(Tensor::scalar(1.5f32))), "w/steps of the checkpoint is [1.5]"),
        (changed("w/steps", None), "no w/steps"),
        (changed("w/exp_avg", None), "has no w/exp_avg"),
        (changed("w/exp_avg", Some(zeros(DType::F64))), "w/exp_avg of the checkpoint is float64"),
        (changed("w/exp_avg", Some(Tensor::zeros([3], DType::F32).unwrap())), "of [3]"),
        (changed("rule", Some(Tensor::scalar(b'x'))), "is of x, and"),
        (changed("rule", Some(Tensor::scalar(1.0f32))), "is of , and"),
    ];
    for (state, expected) in cases {
        let mut opt = Optimizer::adam(0.1);
        let error = opt.load_state(&[("w".to_string(), [2].into())], &state).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!((error.kind(), opt.steps, opt.kept.len()), (ErrorKind::Format, 0, 0), "{error}");
    }
}

#[test]
fn a_state_of_before_rules_and_steps_had_names_is_read() {
    let old: Vec<(String, Tensor)> = state_of(Optimizer::adam(0.1))
        .into_iter()
        .filter(|(name, _)| name != "rule" && name != "w/steps")
        .map(|(name, tensor)| (name.replace("exp_avg_sq", "1").replace("exp_avg", "0"), tensor))
        .collect();
    assert_eq!(old.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["steps", "w/0", "w/1"]);
    let mut opt = Optimizer::adam(0.1);
    opt.load_state(&[("w".to_string(), [2].into())], &old).unwrap();
    assert_eq!((opt.kept["w"].steps, opt.kept["w"].slots.len()), (2, 2));
    assert!(loads(rmsprop(0.0, false), &old).is_err());
    assert!(loads(rmsprop(0.9, true), &old).is_err());
}

#[test]
fn an_option_that_the_rule_lacks_is_refused() {
    assert!(Optimizer::adam(0.1).momentum(0.9).is_err());
    let rule = Rule::Sgd { momentum: 0.0, dampening: 0.0, nesterov: true };
    assert!(rule.check().unwrap_err().to_string().contains("nesterov with momentum 0"));
    let rule = Rule::Sgd { momentum: 0.9, dampening: 0.1, nesterov: true };
    assert!(rule.check().is_err());
    let rule = Rule::RmsProp { alpha: 1.0, eps: 1e-8, momentum: 0.0, centered: false };
    assert!(rule.check().unwrap_err().to_string().contains("alpha 1"));
}

/// The error of one step, which must move nothing.
fn refused(mut opt: Optimizer) -> Error {
    let mut w = parameter(&[1.0, 2.0], &[2]);
    let grads = w.tensor().sum().unwrap().backward().unwrap();
    let error = opt.step(&mut w, grads).unwrap_err();
    assert_eq!(w.tensor().to_vec::<f32>().unwrap(), [1.0, 2.0]);
    error
}

#[test]
fn options_that_cannot_be_used_are_refused_by_name_and_value() {
    let group = |lr_scale, weight_decay| {
        Optimizer::sgd(0.1).group(move |_, _| Some(Group { lr_scale, weight_decay }))
    };
    let adam = |betas, eps| Optimizer::new(Rule::Adam { betas, eps, amsgrad: false }, 0.1);
    let alpha = |alpha| Rule::RmsProp { alpha, eps: 1e-8, momentum: 0.0, centered: false };
    let cases = [
        (Optimizer::sgd(-1.0), "lr -1"),
        (Optimizer::sgd(f64::NAN), "lr NaN"),
        (Optimizer::muon(f64::INFINITY), "lr inf"),
        (Optimizer::sgd(0.1).weight_decay(-0.5), "weight_decay -0.5"),
        (Optimizer::adamw(0.1).weight_decay(f64::NAN), "weight_decay NaN"),
        (group(-1.0, 0.0), "lr_scale -1"),
        (group(f64::INFINITY, 0.0), "lr_scale inf"),
        (group(1.0, -1.0), "weight_decay -1"),
        (adam((1.0, 0.9), 1e-8), "betas 1"),
        (adam((0.9, -0.1), 1e-8), "betas -0.1"),
        (adam((0.9, 0.9), -1e-8), "eps -0.00000001"),
        (Optimizer::new(alpha(-0.1), 0.1), "alpha -0.1"),
    ];
    for (opt, expected) in cases {
        let error = refused(opt);
        assert_eq!(error.kind(), ErrorKind::Argument, "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    for momentum in [2.0, -0.1, f64::NAN] {
        let error = Optimizer::sgd(0.1).momentum(momentum).unwrap_err();
        assert!(error.to_string().contains(&format!("momentum {momentum}")), "{error}");
    }
    let mut opt = Optimizer::adam(0.1);
    opt.set_lr(-1.0);
    assert!(refused(opt).to_string().contains("lr -1"));
    // A learning rate of 0, where schedules end, is one.
    let mut w = parameter(&[1.0, 2.0], &[2]);
    descend(&mut Optimizer::adam(0.0), &mut w, &[1.0, 1.0], 1);
}

#[test]
fn a_gradient_of_another_shape_and_a_norm_below_0_are_refused() {
    let mut w = parameter(&[1.0, 2.0], &[2]);
    let mut grads = w.tensor().sum().unwrap().backward().unwrap();
    for max in [-1.0, f64::NAN] {
        let error = clip_grad_norm(&mut w, &mut grads, max).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
    }
    grads.insert(&w.tensor(), Tensor::zeros([3], DType::F32).unwrap());
    let error = Optimizer::sgd(0.1).step(&mut w, grads).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
}

/// Parameters called 0, 1 and so on, with gradients of one.
fn step_of_ones(opt: &mut Optimizer, model: &mut Vec<Parameter>) -> Result<()> {
    let zero = Tensor::zeros([], DType::F32)?;
    let sum = model.iter().try_fold(zero, |sum, parameter| sum + parameter.tensor().sum()?)?;
    opt.step(model, sum.backward()?)
}

#[test]
fn a_step_of_another_model_is_refused_and_moves_nothing() {
    for mut opt in [Optimizer::adam(0.1), Optimizer::rmsprop(0.1), Optimizer::sgd(0.1).momentum(0.9).unwrap()]
    {
        let mut first = vec![parameter(&[1.0, 2.0], &[2]), parameter(&[1.0], &[1])];
        step_of_ones(&mut opt, &mut first).unwrap();
        // As many numbers are not the same shape.
        for other in [&[1, 1][..], &[3]] {
            let count = other.iter().product();
            let mut second = vec![parameter(&[5.0, 5.0], &[2]), parameter(&vec![4.0; count], other)];
            let error = step_of_ones(&mut opt, &mut second).unwrap_err();
            assert_eq!((error.kind(), error.layer_path()), (ErrorKind::State, Some("1")), "{error}");
            assert!(error.to_string().contains("its means here are of [1]"), "{error}");
            assert_eq!(second[0].tensor().to_vec::<f32>().unwrap(), [5.0, 5.0]);
        }
        step_of_ones(&mut opt, &mut first).unwrap();
    }
}

#[derive(crate::nn::Module)]
struct Pair {
    early: Option<Parameter>,
    late: Parameter,
}

#[test]
fn a_layer_that_comes_later_leaves_the_others_their_means() {
    let run = |comes_at: usize| {
        let mut model = Pair { early: None, late: parameter(&[1.0, -2.0], &[2]) };
        let mut opt = Optimizer::adam(0.1);
        for step in 0..6 {
            if step == comes_at {
                model.early = Some(parameter(&[1.0, 2.0], &[2]));
            }
            let mut loss = model.late.tensor().square().unwrap().sum().unwrap();
            if let Some(early) = &model.early {
                loss = (loss + early.tensor().square().unwrap().sum().unwrap()).unwrap();
            }
            opt.step(&mut model, loss.backward().unwrap()).unwrap();
        }
        model.late.tensor().to_vec::<f32>().unwrap()
    };
    assert_eq!(run(3), run(100));
}

/// Two fields under one path.
struct Twins(Parameter, Parameter);

impl Visitable for Twins {
    fn visit(&self, visitor: &mut dyn crate::nn::Visitor) {
        visitor.field("same", &self.0);
        visitor.field("same", &self.1);
    }

    fn visit_mut(&mut self, visitor: &mut dyn crate::nn::VisitorMut) {
        visitor.field("same", &mut self.0);
        visitor.field("same", &mut self.1);
    }
}

#[test]
fn two_parameters_of_one_path_are_refused() {
    let mut twins = Twins(parameter(&[1.0], &[1]), parameter(&[2.0], &[1]));
    let sum = (twins.0.tensor() + twins.1.tensor()).unwrap().sum().unwrap();
    let error = Optimizer::adam(0.1).step(&mut twins, sum.backward().unwrap()).unwrap_err();
    assert!(error.to_string().contains("two parameters have the path \"same\""), "{error}");
}

/// Two parameters called 0 and 1, of which the second is frozen for a thousand steps and then makes four.
fn thaw(mut opt: Optimizer, reload: bool) -> Parameter {
    let mut model = vec![parameter(&[1.0], &[1]), parameter(&[1.0, -2.0, 0.5], &[3])];
    let c = Tensor::from_slice(&[1.0f32, 0.1, 3.0], [3]).unwrap();
    model[1].set_frozen(true);
    for step in 0..1004 {
        if step == 1000 {
            model[1].set_frozen(false);
        }
        if reload && step == 1002 {
            let parameters = [("0".to_string(), [1].into()), ("1".to_string(), [3].into())];
            let (rule, decay, state) = (opt.rule, opt.weight_decay, opt.state());
            opt = Optimizer::new(rule, 0.1).weight_decay(decay);
            opt.load_state(&parameters, &state).unwrap();
        }
        let bowl = (model[1].tensor().square().unwrap() * &c).unwrap().sum().unwrap();
        let loss = (model[0].tensor().square().unwrap().sum().unwrap() + bowl).unwrap().scale(0.5).unwrap();
        opt.step(&mut model, loss.backward().unwrap()).unwrap();
    }
    model.pop().unwrap()
}

#[test]
fn a_parameter_that_thaws_has_a_bias_correction_of_its_own() {
    // torch.optim counts a step for each parameter: the numbers are those of four steps alone.
    let cases = [
        (
            Optimizer::adam as fn(f64) -> Optimizer,
            [0.603939062682108, -1.60150491486155, 0.11291539677342628],
        ),
        (Optimizer::adamw, [0.6005985762659103, -1.594152938291418, 0.11162008986582435]),
        (Optimizer::muon, [0.5710475992066123, -1.5290327306742797, 0.1002105380093324]),
    ];
    for (make, expected) in cases {
        let mut alone = parameter(&[1.0, -2.0, 0.5], &[3]);
        descend(&mut make(0.1), &mut alone, &[1.0, 0.1, 3.0], 4);
        near(&alone, &expected);
        for reload in [false, true] {
            near(&thaw(make(0.1), reload), &expected);
        }
    }
}
