//! Picking from planes by flat indices, and adding to planes at flat indices: each is the other's gradient.

use rasgo_kernels::pool::{self, PlaneProblem};

use crate::error::Result;
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::ops::float;
use crate::reach::{self, Reaches};

/// The planes of (N, C, …) and the picks of (N, C, …) in them.
pub(super) fn problem(plane: &Shape, picks: &Shape) -> PlaneProblem {
    let ((n, c, input), (_, _, output)) = (plane.image(), picks.image());
    PlaneProblem { n, c, pixels: input.iter().product(), picks: output.iter().product() }
}

/// y[n, c, o] = x[n, c, indices[n, c, o]]; 0 for an index outside the plane, where a window had no maximum.
#[derive(Debug)]
pub(super) struct PlaneGather {
    pub(super) name: &'static str,
}

impl Op for PlaneGather {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::channels_last(inputs[1].shape.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = problem(&inputs[0].meta().shape, &inputs[1].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            pool::gather(&p, inputs[0].values::<T>(), inputs[1].values::<i64>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::everything(&inputs[which])
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let op = PlaneScatter { name: self.name, plane: saved.input_shape(0) };
        let dx = apply(op, [dy[0].take().expect("one output"), saved.input(1)])?;
        Ok(Grads::from_iter([Some(dx), None]))
    }
}

/// y[n, c, i] = sum of x[n, c, o] over the o with indices[n, c, o] = i.
#[derive(Debug)]
pub(super) struct PlaneScatter {
    pub(super) name: &'static str,
    /// The shape that comes out.
    pub(super) plane: Shape,
}

impl Op for PlaneScatter {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([Meta::channels_last(self.plane.clone(), inputs[0].dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = problem(&self.plane, &inputs[0].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            pool::scatter(&p, inputs[0].values::<T>(), inputs[1].values::<i64>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        reach::everything(&inputs[which])
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let op = PlaneGather { name: self.name };
        let dx = apply(op, [dy[0].take().expect("one output"), saved.input(1)])?;
        Ok(Grads::from_iter([Some(dx), None]))
    }
}
