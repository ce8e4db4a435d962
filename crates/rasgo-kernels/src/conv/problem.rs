//! The shape of a convolution.

/// A convolution in one, two or three dimensions; axes that are missing come first and have size 1.
///
/// `dst[n, o, oc] = sum over k, ic of src[n, o * stride + k * dilation - padding, ic] * weight[oc, ic, k]`,
/// maps channels-last, weights in PyTorch's order `[oc][ic / groups][kd][kh][kw]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvProblem {
    /// Images.
    pub n: usize,
    /// Channels of the input, of all groups.
    pub ic: usize,
    /// Channels of the output, of all groups.
    pub oc: usize,
    /// Groups; they divide both numbers of channels.
    pub groups: usize,
    /// Depth, height and width of the input.
    pub input: [usize; 3],
    /// Depth, height and width of the output.
    pub output: [usize; 3],
    /// Taps on each axis.
    pub kernel: [usize; 3],
    /// Steps between outputs.
    pub stride: [usize; 3],
    /// Zeros before the start of each axis; those after the end follow from `output`.
    pub padding: [usize; 3],
    /// Distance of taps.
    pub dilation: [usize; 3],
}

impl ConvProblem {
    /// Input channels of a group.
    pub fn group_ic(&self) -> usize {
        self.ic / self.groups
    }

    /// Output channels of a group.
    pub fn group_oc(&self) -> usize {
        self.oc / self.groups
    }

    /// Taps of the kernel, over all axes.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Pixels of one input map.
    pub fn input_pixels(&self) -> usize {
        self.input.iter().product()
    }

    /// Pixels of one output map.
    pub fn output_pixels(&self) -> usize {
        self.output.iter().product()
    }

    /// Elements of `src`.
    pub fn src_len(&self) -> usize {
        self.n * self.input_pixels() * self.ic
    }

    /// Elements of `dst`.
    pub fn dst_len(&self) -> usize {
        self.n * self.output_pixels() * self.oc
    }

    /// Elements of `weight`.
    pub fn weight_len(&self) -> usize {
        self.oc * self.group_ic() * self.taps()
    }

    /// Floating-point operations of one pass, a multiplication and an addition each counted as one.
    pub fn flops(&self) -> u64 {
        2 * (self.n * self.output_pixels()) as u64 * self.weight_len() as u64
    }

    /// Whether each pixel of the output reads the one pixel at its own place.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1; 3] && self.stride == [1; 3] && self.padding == [0; 3] && self.input == self.output
    }

    /// Panics unless the sizes agree with each other.
    pub(crate) fn check(&self) {
        assert!(self.groups > 0 && self.ic > 0 && self.oc > 0, "a convolution has channels: {self:?}");
        assert_eq!(self.ic % self.groups, 0, "groups divide the input channels");
        assert_eq!(self.oc % self.groups, 0, "groups divide the output channels");
        for axis in 0..3 {
            let positive = self.kernel[axis] > 0 && self.stride[axis] > 0 && self.dilation[axis] > 0;
            assert!(positive, "kernel, stride and dilation are positive: {self:?}");
        }
    }

    /// The place on one axis that output `o` reads with tap `k`, if it lies in the input.
    #[inline(always)]
    pub(crate) fn source(&self, axis: usize, o: usize, k: usize) -> Option<usize> {
        let at = (o * self.stride[axis] + k * self.dilation[axis]).checked_sub(self.padding[axis])?;
        (at < self.input[axis]).then_some(at)
    }
}
