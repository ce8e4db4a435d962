//! The examples of the lecture run: each asserts the lecture's numbers.
#![allow(clippy::duplicate_mod, reason = "each example has the lecture's numbers as a module of its own")]

#[path = "../examples/12_lecture_axes.rs"]
mod axes;
#[path = "../examples/08_lecture_convolution.rs"]
mod convolution;
#[path = "../examples/11_lecture_gradients.rs"]
mod gradients;
#[path = "../examples/14_lecture_images.rs"]
mod images;
#[path = "../examples/10_lecture_network.rs"]
mod network;
#[path = "../examples/13_lecture_parameters.rs"]
mod parameters;
#[path = "../examples/09_lecture_pooling.rs"]
mod pooling;

#[test]
fn convolution_is_the_same_by_loops_by_im2col_and_by_the_layer() {
    convolution::main().unwrap();
}

#[test]
fn pooling_through_im2col_finds_the_places_of_the_maxima() {
    pooling::main().unwrap();
}

#[test]
fn the_network_of_the_lecture_says_18() {
    network::main().unwrap();
}

#[test]
fn gradients_through_col2im_are_those_of_backward() {
    gradients::main().unwrap();
}

#[test]
fn sizes_follow_the_formulas_in_one_two_and_three_axes() {
    axes::main().unwrap();
}

#[test]
fn parameters_are_as_many_as_the_lecture_counts() {
    parameters::main().unwrap();
}

#[test]
fn pictures_change_their_order_and_nothing_else() {
    images::main().unwrap();
}
