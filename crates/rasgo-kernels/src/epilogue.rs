//! What becomes of sums before they are stored: of products and convolutions, on their way out of the registers.

use crate::simd::Vector;
use crate::{Bf16, Float, Stored};

/// A function that is applied as a result is stored. A NaN stays one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x
    #[default]
    None,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
}

impl Activation {
    /// The least result and the greatest.
    fn bounds(self) -> [f32; 2] {
        match self {
            Activation::None => [f32::NEG_INFINITY, f32::INFINITY],
            Activation::Relu => [0.0, f32::INFINITY],
            Activation::Relu6 => [0.0, 6.0],
        }
    }

    /// f(x)
    #[inline(always)]
    pub(crate) fn apply<T: Float>(self, x: T) -> T {
        match self {
            Activation::None => x,
            Activation::Relu => x.max(T::ZERO),
            Activation::Relu6 => x.max(T::ZERO).min(T::from_f64(6.0)),
        }
    }
}

/// `act(sum + bias[column] + add[row, column])`: what is stored of the sums of a product or a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a, S: Stored> {
    /// One value for each column, or output channel.
    pub bias: Option<&'a [S::Wide]>,
    /// A value for each element of the result, in its order: the shortcut of a residual network.
    pub add: Option<&'a [S]>,
    /// What follows the additions.
    pub activation: Activation,
}

impl<'a, S: Stored> Epilogue<'a, S> {
    /// The sums as they are.
    pub const NONE: Epilogue<'static, S> = Epilogue { bias: None, add: None, activation: Activation::None };

    /// Only a bias, if there is one.
    pub fn bias(bias: Option<&'a [S::Wide]>) -> Self {
        Epilogue { bias, ..Epilogue::NONE }
    }

    /// The same, if results are stored as bfloat16.
    pub(crate) fn as_bf16(&self) -> Epilogue<'a, Bf16> {
        let Epilogue { bias, add, activation } = *self;
        Epilogue { bias: bias.and_then(S::Wide::as_f32), add: add.and_then(S::as_bf16), activation }
    }

    /// The same, if results are stored as they are computed.
    pub(crate) fn as_wide(&self) -> Epilogue<'a, S::Wide> {
        let Epilogue { bias, add, activation } = *self;
        Epilogue { bias, add: add.and_then(S::as_wide), activation }
    }

    /// Panics unless it has a value for each column and each element.
    pub(crate) fn check(&self, columns: usize, elements: usize) {
        assert!(self.bias.is_none_or(|bias| bias.len() == columns), "the bias has a value for each column");
        assert!(self.add.is_none_or(|add| add.len() == elements), "as many values are added as there are");
    }
}

impl<'a, T: Float> Epilogue<'a, T> {
    /// Whether the sums stay as they are.
    pub(crate) fn is_none(&self) -> bool {
        self.bias.is_none() && self.add.is_none() && self.activation == Activation::None
    }

    /// The value of element `i` of a result of so many columns.
    #[inline(always)]
    pub(crate) fn apply(&self, i: usize, columns: usize, mut sum: T) -> T {
        if let Some(bias) = self.bias {
            sum += bias[i % columns];
        }
        if let Some(add) = self.add {
            sum += add[i];
        }
        self.activation.apply(sum)
    }

    /// The same in `f32`, where that is the type.
    pub(crate) fn as_f32(&self) -> Epilogue<'a, f32> {
        let Epilogue { bias, add, activation } = *self;
        Epilogue { bias: bias.and_then(T::as_f32), add: add.and_then(T::as_f32), activation }
    }
}

impl Epilogue<'_, f32> {
    /// The bias from a column on, and the rest from an element on.
    #[inline(always)]
    pub(crate) fn from(&self, column: usize, element: usize) -> Finish {
        let at = |values: Option<&[f32]>, i: usize| values.map_or(std::ptr::null(), |v| v[i..].as_ptr());
        let [low, high] = self.activation.bounds();
        Finish { bias: at(self.bias, column), add: at(self.add, element), low, high }
    }
}

/// An [`Epilogue`] as kernels have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    /// Of the first column; null for none.
    pub(crate) bias: *const f32,
    /// Of the first element; null for none. Its elements lie as those of the destination.
    pub(crate) add: *const f32,
    /// The least result and the greatest.
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Finish {
    /// Nothing happens to the sums.
    pub(crate) const NONE: Finish =
        Finish { bias: std::ptr::null(), add: std::ptr::null(), low: f32::NEG_INFINITY, high: f32::INFINITY };

    /// The same from another column and element on.
    #[inline(always)]
    pub(crate) fn further(&self, columns: usize, elements: usize) -> Finish {
        let bias = if self.bias.is_null() { self.bias } else { self.bias.wrapping_add(columns) };
        let add = if self.add.is_null() { self.add } else { self.add.wrapping_add(elements) };
        Finish { bias, add, ..*self }
    }

    /// The bias of vector `v`, or zeros; of `PART` no more than `cols` columns.
    ///
    /// # Safety
    /// The bias has these columns.
    #[inline(always)]
    pub(crate) unsafe fn bias<V: Vector, const PART: bool>(&self, v: usize, cols: usize) -> V {
        if self.bias.is_null() {
            return V::zero();
        }
        // SAFETY: the caller's promise.
        unsafe { load::<V, PART>(self.bias, v * V::LANES, cols) }
    }

    /// What is stored of a vector of sums, for the vector of the destination that begins `at` elements after its first.
    ///
    /// # Safety
    /// What is added has that vector; of `PART`, `cols` elements of it.
    #[inline(always)]
    pub(crate) unsafe fn apply<V: Vector, const PART: bool>(
        &self,
        mut x: V,
        bias: V,
        at: usize,
        cols: usize,
    ) -> V {
        if !self.bias.is_null() {
            x = x.add(bias);
        }
        if !self.add.is_null() {
            // SAFETY: the caller's promise.
            let add = unsafe {
                let from = self.add.wrapping_add(at);
                if PART { V::load_first(from, cols) } else { V::load(from) }
            };
            x = x.add(add);
        }
        x.at_least(V::splat(self.low)).at_most(V::splat(self.high))
    }
}

/// The vector that begins `at` columns after the first, or what `cols` leaves of it.
#[inline(always)]
unsafe fn load<V: Vector, const PART: bool>(row: *const f32, at: usize, cols: usize) -> V {
    let from = row.wrapping_add(at);
    // SAFETY: the caller promises the columns.
    unsafe { if PART { V::load_first(from, cols.saturating_sub(at)) } else { V::load(from) } }
}
