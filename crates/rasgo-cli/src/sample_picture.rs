//! A sample as HTML: an image, a drawing of a series, or the frames of a video.

use base64::Engine;
use rasgo::formats::png_bytes;
use rasgo::{DType, Result, Tensor};

/// Frames that are shown of a video; of a longer one, these are spread over its length.
const FRAMES: usize = 12;
/// Points that are drawn of a series.
const POINTS: usize = 400;
const COLOURS: [&str; 6] = ["#2c6fbb", "#c0392b", "#27863b", "#8e44ad", "#b9770e", "#555"];

/// Shows a sample (C, L), (C, H, W) or (C, D, H, W); empty for what cannot be shown, as an image of two channels.
pub(crate) fn sample_picture(sample: &Tensor) -> Result<String> {
    match sample.shape()[..] {
        [channels, length] => series(sample, channels, length),
        [_, _, _] => Ok(image(&in_range(sample)?, "picture")),
        [channels, frames, height, width] => {
            let shown = frames.min(FRAMES);
            let plane = height * width;
            let values = in_range(sample)?.to_vec::<f32>()?;
            // (C, D, H, W) to (C, H, D' * W): the frames from left to right.
            let strip = Tensor::from_fn([channels, height, shown * width], |dst: &mut [f32]| {
                for (i, value) in dst.iter_mut().enumerate() {
                    let (row, x) = (i / (shown * width), i % (shown * width));
                    let (c, y) = (row / height, row % height);
                    let frame = x / width * frames / shown;
                    *value = values[(c * frames + frame) * plane + y * width + x % width];
                }
            });
            Ok(image(&strip, "strip"))
        }
        _ => Ok(String::new()),
    }
}

/// The values as floats in 0..1: bytes as shares of 255, floats that go beyond by their own range.
fn in_range(sample: &Tensor) -> Result<Tensor> {
    let bytes = sample.dtype() == DType::U8;
    let values = sample.to_f64_vec()?;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, span) = match (bytes, low < 0.0 || high > 1.0) {
        (true, _) => (0.0, 255.0),
        (_, true) if high > low => (low, high - low),
        _ => (0.0, 1.0),
    };
    Tensor::from_vec(
        values.iter().map(|x| ((x - low) / span) as f32).collect::<Vec<f32>>(),
        sample.shape().clone(),
    )
}

fn image(picture: &Tensor, class: &str) -> String {
    png_bytes(picture).map_or(String::new(), |png| {
        let text = base64::engine::general_purpose::STANDARD.encode(png);
        format!("<img class={class} alt='' src='data:image/png;base64,{text}'>")
    })
}

/// A line for each channel, over one common range.
fn series(sample: &Tensor, channels: usize, length: usize) -> Result<String> {
    const WIDTH: f64 = 208.0;
    const HEIGHT: f64 = 80.0;
    let values = sample.to_f64_vec()?;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    let step = length.div_ceil(POINTS).max(1);
    let mut lines = String::new();
    for c in 0..channels {
        let points = (0..length).step_by(step).map(|i| {
            let x = WIDTH * i as f64 / (length - 1).max(1) as f64;
            format!("{x:.1},{:.1}", 2.0 + (HEIGHT - 4.0) * (high - values[c * length + i]) / span)
        });
        let colour = COLOURS[c % COLOURS.len()];
        let points = points.collect::<Vec<_>>().join(" ");
        lines += &format!("<polyline points='{points}' fill='none' stroke='{colour}'/>");
    }
    Ok(format!("<svg class=series viewBox='0 0 {WIDTH} {HEIGHT}'>{lines}</svg>"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasgo::formats::{ImageOptions, decode_image};

    fn pixels(html: &str) -> Tensor {
        let text = html.split("base64,").nth(1).unwrap().trim_end_matches("'>");
        let png = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        decode_image(&png, &ImageOptions::new(1)).unwrap()
    }

    #[test]
    fn frames_stand_from_left_to_right() {
        let video: Vec<u8> = (0..24).map(|i| i * 10).collect();
        let video = Tensor::from_vec(video, [1, 4, 2, 3]).unwrap();
        let strip = pixels(&sample_picture(&video).unwrap());
        assert_eq!(strip.shape()[..], [1, 2, 12]);
        let row = &strip.to_vec::<u8>().unwrap()[12..];
        assert_eq!(row, [30, 40, 50, 90, 100, 110, 150, 160, 170, 210, 220, 230]);
    }

    #[test]
    fn a_long_video_shows_some_frames_and_floats_fill_the_range() {
        let video = Tensor::from_vec((0..36).map(|i| i as f32 - 10.0).collect(), [1, 36, 1, 1]).unwrap();
        let strip = pixels(&sample_picture(&video).unwrap()).to_vec::<u8>().unwrap();
        assert_eq!((strip.len(), strip[0]), (12, 0));
        assert!(strip.windows(2).all(|pair| pair[1] > pair[0]), "{strip:?}");
    }

    #[test]
    fn each_channel_of_a_series_is_a_line_inside_the_drawing() {
        let flat = Tensor::from_vec(vec![3.0f32; 1], [1, 1]).unwrap();
        assert!(!sample_picture(&flat).unwrap().contains("NaN"));
        let two = Tensor::from_vec((0..2000).map(|i| (i as f32 / 50.0).sin()).collect(), [2, 1000]).unwrap();
        let svg = sample_picture(&two).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.len() < 20_000, "{}", svg.len());
    }
}
