//! A data set for the tests of loaders, splits and statistics.

use std::sync::atomic::{AtomicUsize, Ordering};

use rasgo::data::{Dataset, Sample};
use rasgo::{Error, Result, Shape, Tensor};

/// Pictures of 2 x 5 x 3 values that follow from the index; some samples may fail.
pub(crate) struct Made {
    pub(crate) len: usize,
    pub(crate) shape: Shape,
    pub(crate) classes: Vec<String>,
    pub(crate) float: bool,
    pub(crate) fails: Option<usize>,
    pub(crate) panics: Option<usize>,
    pub(crate) read: AtomicUsize,
}

impl Made {
    pub(crate) fn new(len: usize) -> Self {
        Made {
            len,
            shape: [2, 5, 3].into(),
            classes: (0..4).map(|c| format!("class {c}")).collect(),
            float: false,
            fails: None,
            panics: None,
            read: AtomicUsize::new(0),
        }
    }

    pub(crate) fn values(index: usize) -> Vec<u8> {
        (0..30).map(|i| (index * 31 + i * 17) as u8).collect()
    }
}

impl Dataset for Made {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Sample> {
        self.read.fetch_add(1, Ordering::Relaxed);
        if self.fails == Some(index) {
            return Err(Error::format("photo.jpg", "is truncated").hint("download it again"));
        }
        assert!(self.panics != Some(index), "no such pixel");
        let values = Made::values(index);
        let input = if self.float {
            Tensor::from_vec(values.iter().map(|&x| f32::from(x) / 255.0).collect(), self.shape.clone())?
        } else {
            Tensor::from_vec(values, self.shape.clone())?
        };
        Ok(Sample { input, label: (index % 4) as i64 })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }
}
