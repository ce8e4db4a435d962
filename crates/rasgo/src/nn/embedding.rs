//! A table of vectors by index.

use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::{LayerName, Parameter};
use crate::init::Init;

/// Rows of a table, by index: (…) of int64 to (…, features), as `torch.nn.Embedding`.
///
/// ```
/// use rasgo::prelude::*;
/// let words = nn::Embedding::new(1000, 16).padding_idx(0)?;
/// let sentence = Tensor::from_vec(vec![17i64, 4, 0, 0], [1, 4])?;
/// assert_eq!(words.forward(sentence)?.shape()[..], [1, 4, 16]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Embedding {
    /// (rows, features)
    pub weight: Parameter,
    #[module(skip)]
    padding_idx: Option<i64>,
    name: LayerName,
}

impl Embedding {
    /// A table of standard normal numbers.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Self {
        Embedding {
            weight: Parameter::new([num_embeddings, embedding_dim], Init::Normal(0.0, 1.0)),
            padding_idx: None,
            name: LayerName::new("Embedding"),
        }
    }

    /// The row of an index that stands for nothing: it is zero, and learns nothing. A negative one counts from the end.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn padding_idx(mut self, padding_idx: i64) -> Result<Self> {
        let (rows, features) = (self.weight.shape()[0], self.weight.shape()[1]);
        // The operation has the rule for the index.
        let none = Tensor::zeros([0], rasgo_core::DType::I64)?;
        Tensor::shape_only([rows, features], rasgo_core::DType::F32).embedding(&none, Some(padding_idx))?;
        let row = padding_idx.rem_euclid(rows as i64) as usize;
        self.weight.update(|weight| weight[row * features..(row + 1) * features].fill(0.0))?;
        self.padding_idx = Some(padding_idx);
        Ok(self)
    }
}

impl Module for Embedding {
    fn forward(&self, index: Tensor) -> Result<Tensor> {
        self.name.run(|| self.weight.tensor().embedding(&index, self.padding_idx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ModuleExt;
    use crate::optim::Optimizer;

    #[test]
    fn the_padding_row_stays_zero_while_others_learn() {
        let mut layer = Embedding::new(5, 3).padding_idx(-2).unwrap();
        assert_eq!(layer.state_dict()[0].0, "weight");
        let index = Tensor::from_vec(vec![3i64, 1, 3], [3]).unwrap();
        let before = layer.weight.tensor().to_vec::<f32>().unwrap();
        let grads = layer.forward(index).unwrap().sum().unwrap().backward().unwrap();
        Optimizer::sgd(0.5).step(&mut layer, grads).unwrap();
        let after = layer.weight.tensor().to_vec::<f32>().unwrap();
        assert_eq!(after[9..12], [0.0; 3]);
        for (i, (before, after)) in before.iter().zip(&after).enumerate() {
            assert_eq!(*after, if (3..6).contains(&i) { before - 0.5 } else { *before });
        }
    }

    #[test]
    fn a_row_that_is_not_there_is_no_padding() {
        let error = Embedding::new(5, 3).padding_idx(5).unwrap_err();
        assert!(error.to_string().contains("padding_idx 5 of a table of 5 rows"), "{error}");
    }
}
