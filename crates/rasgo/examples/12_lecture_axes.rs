//! One, two and three axes: Conv1d on a series, Conv3d on a video, the formulas of the sizes that come out against the
//! shapes that do, and what a window leaves out: `cargo run --release -p rasgo --example 12_lecture_axes`
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use rasgo::prelude::*;
use rasgo::reach::Coverage;

/// floor((in + 2 padding - dilation (kernel - 1) - 1) / stride + 1)
fn out(size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> usize {
    (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
}

/// floor((in + 2 padding - kernel) / stride + 1): an average has no dilation.
fn average_out(size: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    (size + 2 * padding - kernel) / stride + 1
}

pub(crate) fn main() -> Result<()> {
    // A series of 100 steps of 3 features; (N, C, L).
    let series = Tensor::randn([8, 3, 100]);
    let y = nn::Conv1d::new(3, 16, 5).stride(2).forward(series.clone())?;
    println!("Conv1d: a series {} becomes {}", series.shape(), y.shape());
    assert_eq!(**y.shape(), [8, 16, out(100, 5, 2, 0, 1)]);

    // A video of 10 frames of 32 x 24 pixels in colour; (N, C, D, H, W).
    let video = Tensor::randn([2, 3, 10, 32, 24]);
    let y = nn::Conv3d::new(3, 4, [3, 5, 3]).stride([1, 2, 2]).padding([1, 0, 1]).forward(video.clone())?;
    println!("Conv3d: a video {} becomes {}", video.shape(), y.shape());
    assert_eq!(**y.shape(), [2, 4, out(10, 3, 1, 1, 1), out(32, 5, 2, 0, 1), out(24, 3, 2, 1, 1)]);

    println!("\n  in  kernel  stride  padding  dilation   conv  max pool  average pool");
    for size in [7, 12, 28] {
        for (kernel, stride, padding, dilation) in
            [(3, 1, 0, 1), (3, 1, 1, 1), (2, 2, 0, 1), (3, 2, 1, 2), (5, 3, 2, 1), (1, 4, 0, 3)]
        {
            // Height and width differ, so that neither can stand for the other.
            let x = Tensor::randn([1, 1, size, size + 4]);
            let conv = nn::Conv2d::new(1, 1, kernel)
                .stride(stride)
                .padding(padding)
                .dilation(dilation)
                .forward(x.clone())?;
            let max = nn::MaxPool2d::new(kernel)
                .stride(stride)
                .padding(padding)
                .dilation(dilation)
                .forward(x.clone())?;
            let average = nn::AvgPool2d::new(kernel).stride(stride).padding(padding).forward(x)?;
            let expected = [size, size + 4].map(|size| out(size, kernel, stride, padding, dilation));
            assert_eq!(conv.shape()[2..], expected);
            assert_eq!(max.shape()[2..], expected);
            let averages = [size, size + 4].map(|size| average_out(size, kernel, stride, padding));
            assert_eq!(average.shape()[2..], averages);
            let (h, a) = (expected[0], averages[0]);
            println!("{size:4}{kernel:8}{stride:8}{padding:9}{dilation:10}{h:7}{h:10}{a:14}");
        }
    }
    // Without a stride, pooling takes steps as long as its window.
    assert_eq!(nn::MaxPool2d::new(3).forward(Tensor::randn([1, 1, 9, 12]))?.shape()[2..], [3, 4]);

    // Adaptive pooling chooses its windows by the size that is wanted, whatever comes in.
    for size in [[5, 7], [13, 9], [64, 48]] {
        let x = Tensor::randn([1, 2, size[0], size[1]]);
        let y = nn::AdaptiveAvgPool2d::new([3, 2]).forward(x.clone())?;
        println!("AdaptiveAvgPool2d((3, 2)): {} becomes {}", x.shape(), y.shape());
        assert_eq!(**y.shape(), [1, 2, 3, 2]);
    }

    // "It is important to know the size of the image, so that no part is left out": which part that would be.
    let x = Tensor::rand([1, 1, 28, 28]).requires_grad();
    for kernel in [4, 5] {
        let y = nn::Conv2d::new(1, 1, kernel).stride(2).forward(x.clone())?;
        let coverage = Coverage::of(&y, &x)?;
        let (seen, left) = (coverage.seen(), coverage.unseen(1));
        println!(
            "28 x 28, kernel {kernel}, stride 2: {seen} of 784 pixels are seen, not columns {:?}",
            left.ranges()
        );
        assert_eq!(coverage.is_complete(), kernel == 4);
    }
    Ok(())
}
