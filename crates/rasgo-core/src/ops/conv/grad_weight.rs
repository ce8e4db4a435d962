//! The gradient of convolutions to the weight.

use rasgo_kernels::conv;

use super::super::stored;
use super::forward::{After, Conv};
use super::transposed::Transposed;
use super::{ConvOptions, problem};
use crate::error::Result;
use crate::meta::{Meta, Shape};
use crate::op::{Bf16Rule, Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::reach::{self, Reaches};

/// dw from x and dy: every pixel adds its patch times its gradient. Of bfloat16 it is float32, as the weight.
#[derive(Debug, Clone)]
pub(super) struct GradWeight {
    pub(super) name: &'static str,
    pub(super) options: ConvOptions,
    pub(super) weight: Shape,
}

impl Op for GradWeight {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::plain(self.weight.clone(), inputs[0].dtype.wide())]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1]))
    }

    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Inside(Mask::of(&[0, 1]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = problem(&self.options, &inputs[0].meta().shape, &self.weight, &inputs[1].meta().shape);
        stored!(inputs[0].meta().dtype, S => {
            conv::grad_weight(&p, inputs[0].values::<S>(), inputs[1].values::<S>(), outputs[0].values());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::everything(&inputs[which])
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0, 1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut ddw: Grads, needs: Mask) -> Result<Grads> {
        let ddw = ddw[0].take().expect("one output");
        let (x, dy) = (saved.input(0), saved.input(1));
        let (name, options) = (self.name, self.options.clone());
        let ddy = needs.has(1).then(|| {
            let op = Conv {
                name,
                options: options.clone(),
                output: Some(dy.shape().clone()),
                after: After::default(),
            };
            apply(op, [x.clone(), ddw.clone()])
        });
        let dx = needs.has(0).then(|| apply(Transposed::to(name, options, x.shape()), [dy.clone(), ddw]));
        Ok(Grads::from_iter([dx.transpose()?, ddy.transpose()?]))
    }
}
