//! What is known of a tensor without its values: shape, dtype, layout.

use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// The sizes of a tensor's axes, outermost first; images are (N, C, H, W).
#[derive(PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 6]>);

/// As a whole: the derived clone goes size by size, and every operation copies ten shapes or more.
impl Clone for Shape {
    fn clone(&self) -> Self {
        Shape(SmallVec::from_slice(&self.0))
    }
}

impl Shape {
    /// The product of the sizes: 1 for a scalar.
    ///
    /// # Panics
    /// If they do not fit in memory. Operations refuse such a shape with an error before they ask.
    pub fn elements(&self) -> usize {
        self.checked_elements().expect("a shape's elements fit in memory")
    }

    /// The product of the sizes, if as many f64 fit in memory; also without the sizes that are 0, so that the product of
    /// any of the others can be taken.
    pub fn checked_elements(&self) -> Option<usize> {
        let product = self.0.iter().try_fold(1usize, |product, &size| product.checked_mul(size.max(1)))?;
        let fits = product <= isize::MAX as usize / 8;
        fits.then_some(if self.0.contains(&0) { 0 } else { product })
    }

    /// The indices of an element, by its number in row-major order.
    pub(crate) fn place(&self, element: usize) -> Shape {
        let strides = self.strides();
        (0..self.len()).map(|axis| element / strides[axis] % self[axis].max(1)).collect()
    }

    /// Changes the size of an axis.
    pub(crate) fn set(&mut self, axis: usize, size: usize) {
        self.0[axis] = size;
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> SmallVec<[usize; 6]> {
        let mut strides = SmallVec::from_elem(1, self.len());
        for axis in (0..self.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * self[axis + 1].max(1);
        }
        strides
    }

    /// Batch, channels and the three spatial sizes (missing leading ones are 1) of an (N, C, …) tensor.
    pub fn image(&self) -> (usize, usize, [usize; 3]) {
        let mut spatial = [1; 3];
        let rank = self.len() - 2;
        spatial[3 - rank..].copy_from_slice(&self[2..]);
        (self[0], self[1], spatial)
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Shape(SmallVec::from_slice(&sizes))
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Shape(SmallVec::from_slice(sizes))
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Self {
        Shape(SmallVec::from_vec(sizes))
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl AsRef<[usize]> for Shape {
    fn as_ref(&self) -> &[usize] {
        &self.0
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(sizes: I) -> Self {
        Shape(sizes.into_iter().collect())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit float: the type to compute in.
    F32,
    /// 64-bit float: slow, for checking gradients.
    F64,
    /// bfloat16, the upper half of a 32-bit float: maps are stored in it, and everything is computed in F32.
    Bf16,
    /// 64-bit integer: indices and labels.
    I64,
    /// Byte: images and masks.
    U8,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F64 | DType::I64 => 8,
            DType::Bf16 => 2,
            DType::U8 => 1,
        }
    }

    /// Whether gradients exist for it.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::Bf16)
    }

    /// The type that is computed in: of bfloat16 float32, of the others they themselves.
    pub fn wide(self) -> DType {
        if self == DType::Bf16 { DType::F32 } else { self }
    }

    /// PyTorch's name.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::Bf16 => "bfloat16",
            DType::I64 => "int64",
            DType::U8 => "uint8",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is the element of a tensor.
pub trait Element: rasgo_kernels::buffer::Element + Default + fmt::Debug + PartialEq {
    /// Its dtype.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for rasgo_kernels::Bf16 {
    const DTYPE: DType = DType::Bf16;
}
impl Element for i64 {
    const DTYPE: DType = DType::I64;
}
impl Element for u8 {
    const DTYPE: DType = DType::U8;
}

/// How the elements of an (N, C, …) tensor lie in memory. The order of the axes that users see never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// As the shape says, the last axis contiguous.
    Plain,
    /// N, spatial axes, C: the channels of a pixel are contiguous.
    ChannelsLast,
}

/// Shape, dtype and layout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Sizes of the axes.
    pub shape: Shape,
    /// Type of the elements.
    pub dtype: DType,
    /// Order in memory.
    pub layout: Layout,
}

impl Meta {
    /// A plain tensor.
    pub fn plain(shape: impl Into<Shape>, dtype: DType) -> Self {
        Meta { shape: shape.into(), dtype, layout: Layout::Plain }
    }

    /// A channels-last tensor; where the two layouts are the same bytes it is called plain.
    pub fn channels_last(shape: impl Into<Shape>, dtype: DType) -> Self {
        let shape = shape.into();
        // More than three spatial axes have no channels-last order.
        let layout =
            if layouts_agree(&shape) || shape.len() > 5 { Layout::Plain } else { Layout::ChannelsLast };
        Meta { shape, dtype, layout }
    }

    /// The same layout and dtype with another shape of the same rank.
    pub fn with_shape(&self, shape: impl Into<Shape>) -> Self {
        match self.layout {
            Layout::Plain => Meta::plain(shape, self.dtype),
            Layout::ChannelsLast => Meta::channels_last(shape, self.dtype),
        }
    }

    /// The axes in the order of memory, the outermost first.
    pub fn memory_order(&self) -> SmallVec<[usize; 6]> {
        let rank = self.shape.len();
        match self.layout {
            Layout::Plain => (0..rank).collect(),
            Layout::ChannelsLast => [0].into_iter().chain(2..rank).chain([1]).collect(),
        }
    }

    /// The distance in memory between neighbours along each axis.
    pub fn strides(&self) -> SmallVec<[usize; 6]> {
        let mut strides = SmallVec::from_elem(0, self.shape.len());
        let mut stride = 1;
        for &axis in self.memory_order().iter().rev() {
            strides[axis] = stride;
            stride *= self.shape[axis];
        }
        strides
    }

    /// Bytes of all elements.
    pub fn bytes(&self) -> usize {
        self.shape.elements() * self.dtype.size()
    }

    /// Whether the bytes are in channels-last order (true also for a plain tensor with one channel or one pixel).
    pub fn is_channels_last(&self) -> bool {
        self.layout == Layout::ChannelsLast || layouts_agree(&self.shape)
    }
}

/// Whether plain and channels-last are the same order of bytes: one channel, one pixel, or no spatial axes.
fn layouts_agree(shape: &[usize]) -> bool {
    shape.len() < 3 || shape[1] == 1 || shape[2..].iter().all(|&size| size == 1)
}
