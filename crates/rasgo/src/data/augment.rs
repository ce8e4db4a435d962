//! Augmentation: each time a sample is trained on, it is turned, scaled and moved a little.

use std::ops::Range;

use rasgo_core::random::Key;
use rasgo_core::{DType, Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::resample::{Affine, Hole, resample};

/// Random changes of a picture: a crop, a hole, then one bilinear resampling about its centre, where what comes in from
/// outside is 0.
///
/// Each number is uniform in its range and follows from a [`Key`], which a loader derives from (seed, epoch, sample):
/// neither threads nor the order of loading matter.
///
/// ```
/// use rasgo::data::Augment;
/// let digits = Augment { rotation: 10.0, scale: (0.9, 1.1), shift: 2.0, ..Augment::default() };
/// assert!(digits.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Degrees: the picture is turned by -rotation to +rotation, counter-clockwise if positive.
    pub rotation: f64,
    /// The least and the greatest factor; below 1 the picture shrinks.
    pub scale: (f64, f64),
    /// Pixels: the picture is moved by -shift to +shift along each axis.
    pub shift: f64,
    /// Degrees: vertical lines lean by -shear to +shear.
    pub shear: f64,
    /// Whether half of the pictures are mirrored, left to right.
    pub flip: bool,
    /// Pixels: the picture is extended by so many on all sides, by its mirror image, and a part of its own size is cut out
    /// anywhere. That is torchvision's `RandomCrop(size, padding=crop, padding_mode="reflect")`.
    pub crop: usize,
    /// Pixels: the side of a square anywhere in the picture, cut off at its edges, that each channel's mean takes the place
    /// of (DeVries and Taylor 2017, arXiv 1708.04552).
    pub cutout: usize,
}

impl Default for Augment {
    /// No change.
    fn default() -> Self {
        Augment { rotation: 0.0, scale: (1.0, 1.0), shift: 0.0, shear: 0.0, flip: false, crop: 0, cutout: 0 }
    }
}

impl Augment {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](rasgo_core::ErrorKind::Argument) naming the number and what is allowed.
    pub fn check(&self) -> Result<()> {
        let ranged = |name: &str, value: f64, most: f64| {
            if (0.0..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::argument(format!("augmentation has {name} {value}"))
                .hint(format!("{name} is from 0 to {most}")))
        };
        ranged("rotation", self.rotation, 180.0)?;
        ranged("shear", self.shear, 80.0)?;
        ranged("shift", self.shift, 1e5)?;
        let (low, high) = self.scale;
        if !(low >= 0.01 && low <= high && high <= 100.0) {
            return Err(Error::argument(format!("augmentation has scale {low} to {high}"))
                .hint("the least factor comes first, and both are from 0.01 to 100"));
        }
        Ok(())
    }

    /// Checks that pictures are large enough.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](rasgo_core::ErrorKind::Argument) if the mirror image of one is too small for the crop.
    pub(super) fn check_size(&self, height: usize, width: usize) -> Result<()> {
        if self.crop == 0 || self.crop < height.min(width) {
            return Ok(());
        }
        Err(Error::argument(format!(
            "augmentation has crop {} for pictures of {height} x {width}",
            self.crop
        ))
        .hint("crop is less than height and width"))
    }

    /// A changed picture (C, H, W) of u8 or f32, as f32 in the same units.
    ///
    /// # Errors
    /// Ranges that [`check`](Augment::check) refuses; a crop as large as the picture; a tensor of another rank or dtype.
    pub fn apply(&self, image: &Tensor, key: Key) -> Result<Tensor> {
        self.check()?;
        let [channels, height, width] = image.shape()[..] else {
            return Err(Error::shape(format!("a tensor of shape {} is no picture", image.shape()))
                .op("augment")
                .hint("pictures are (C, H, W)"));
        };
        self.check_size(height, width)?;
        let affine = self.draw(key, height, width);
        let plain = image.clone().to_plain();
        let bytes = if plain.dtype() == DType::U8 { Some(plain.as_slice::<u8>()?) } else { None };
        let floats = if bytes.is_none() { plain.as_slice::<f32>()? } else { &[] };
        Ok(Tensor::from_fn([channels, height, width], |dst: &mut [f32]| {
            let put = |c: usize, pixel: usize, value: f32| dst[c * height * width + pixel] = value;
            match bytes {
                Some(bytes) => resample(&affine, bytes, channels, height, width, put),
                None => resample(&affine, floats, channels, height, width, put),
            }
        }))
    }

    /// The map for one picture.
    pub(super) fn draw(&self, key: Key, height: usize, width: usize) -> Affine {
        let between = |position: u64, low: f64, high: f64| low + (high - low) * key.uniform_f64(position);
        let radians = |degrees: f64| degrees * (std::f64::consts::PI / 180.0);
        let angle = radians(between(0, -self.rotation, self.rotation));
        let scale = between(1, self.scale.0, self.scale.1);
        let down = between(2, -self.shift, self.shift);
        let right = between(3, -self.shift, self.shift);
        let lean = libm::tan(radians(between(4, -self.shear, self.shear)));
        let mirror = if self.flip && key.uniform_f64(5) < 0.5 { -1.0 } else { 1.0 };
        let moved = |position: u64| {
            let places = 2 * self.crop as u64 + 1;
            self.crop as isize - key.below(position, places) as isize
        };
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        // y points down: turning counter-clockwise is [cos sin; -sin cos]. First mirrored, then leant, then turned.
        let forward = [
            [scale * mirror * cos, scale * (cos * lean + sin)],
            [-scale * mirror * sin, scale * (cos - sin * lean)],
        ];
        Affine::backwards(forward, [right, down], height, width)
            .after_move([moved(6), moved(7)])
            .after_cut(Hole { rows: self.hole(key, 8, height), columns: self.hole(key, 9, width) })
    }

    /// The cells of an axis that a hole takes, about one of them.
    fn hole(&self, key: Key, position: u64, len: usize) -> Range<usize> {
        let start = key.below(position, len as u64) as usize;
        let before = self.cutout / 2;
        start.saturating_sub(before)..len.min((start + self.cutout).saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(channels: usize, height: usize, width: usize) -> Tensor {
        let values: Vec<u8> = (0..channels * height * width).map(|i| (i * 37 % 251) as u8 + 1).collect();
        Tensor::from_vec(values, [channels, height, width]).unwrap()
    }

    fn resampled(image: &Tensor, forward: [[f64; 2]; 2], shift: [f64; 2]) -> Vec<f32> {
        let [c, h, w] = image.shape()[..] else { panic!("rank 3") };
        let mut dst = vec![f32::NAN; c * h * w];
        let affine = Affine::backwards(forward, shift, h, w);
        resample(&affine, image.as_slice::<u8>().unwrap(), c, h, w, |c, pixel, x| dst[c * h * w + pixel] = x);
        dst
    }

    const SAME: [[f64; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

    #[test]
    fn no_change_is_exact() {
        let image = picture(3, 5, 8);
        let same = Augment::default().apply(&image, Key::new(1, 2)).unwrap();
        assert_eq!(same.to_f64_vec().unwrap(), image.to_f64_vec().unwrap());
    }

    #[test]
    fn a_whole_shift_is_exact_and_fills_with_zeros() {
        let (h, w) = (5usize, 8usize);
        let image = picture(2, h, w);
        let src = image.to_vec::<u8>().unwrap();
        for (right, down) in [(2isize, 0isize), (0, 3), (-1, 1), (7, -4), (8, 0), (-100, 100)] {
            let dst = resampled(&image, SAME, [right as f64, down as f64]);
            for c in 0..2 {
                for y in 0..h as isize {
                    for x in 0..w as isize {
                        let (from_y, from_x) = (y - down, x - right);
                        let inside = (0..h as isize).contains(&from_y) && (0..w as isize).contains(&from_x);
                        let at = |y: isize, x: isize| (c * h + y as usize) * w + x as usize;
                        let expected = if inside { f32::from(src[at(from_y, from_x)]) } else { 0.0 };
                        assert_eq!(dst[at(y, x)], expected, "{right} {down} {c} {y} {x}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_quarter_turn_counter_clockwise_moves_every_pixel_to_its_place() {
        let n = 6;
        let image = picture(2, n, n);
        let src = image.to_vec::<u8>().unwrap();
        let angle = std::f64::consts::FRAC_PI_2;
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        let dst = resampled(&image, [[cos, sin], [-sin, cos]], [0.0, 0.0]);
        for c in 0..2 {
            for y in 0..n {
                for x in 0..n {
                    // As numpy.rot90: the right column becomes the top row.
                    let expected = f32::from(src[(c * n + x) * n + (n - 1 - y)]);
                    assert_eq!(dst[(c * n + y) * n + x], expected, "{c} {y} {x}");
                }
            }
        }
    }

    #[test]
    fn half_a_pixel_is_the_mean_of_two() {
        let image = picture(1, 3, 4);
        let src = image.to_vec::<u8>().unwrap();
        let dst = resampled(&image, SAME, [0.5, 0.0]);
        assert_eq!(dst[4 + 2], (f32::from(src[4 + 1]) + f32::from(src[4 + 2])) / 2.0);
        assert_eq!(dst[4], f32::from(src[4]) / 2.0);
    }

    #[test]
    fn a_flip_mirrors_half_of_the_pictures() {
        let image = picture(1, 2, 5);
        let mirrored: Vec<f64> =
            image.to_f64_vec().unwrap().chunks(5).flat_map(|row| row.iter().rev().copied()).collect();
        let flip = Augment { flip: true, ..Augment::default() };
        let flipped = (0..1000)
            .filter(|&i| flip.apply(&image, Key::new(3, i)).unwrap().to_f64_vec().unwrap() == mirrored)
            .count();
        assert!((450..550).contains(&flipped), "{flipped}");
    }

    #[test]
    fn a_crop_cuts_every_place_of_the_mirrored_picture_evenly() {
        let (h, w, crop) = (4usize, 5usize, 2usize);
        let image = picture(2, h, w);
        // numpy.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
        let mirrored =
            |i: usize, len: usize| [2, 1].into_iter().chain(0..len).chain([len - 2, len - 3]).nth(i).unwrap();
        let src = image.to_vec::<u8>().unwrap();
        let cut = |top: usize, left: usize| -> Vec<f32> {
            let at =
                |c: usize, y: usize, x: usize| (c * h + mirrored(top + y, h)) * w + mirrored(left + x, w);
            (0..2 * h * w).map(|i| f32::from(src[at(i / (h * w), i / w % h, i % w)])).collect()
        };
        let places: Vec<Vec<f32>> = (0..25).map(|i| cut(i / 5, i % 5)).collect();
        let augment = Augment { crop, ..Augment::default() };
        let mut found = [0usize; 25];
        for i in 0..2500 {
            let dst = augment.apply(&image, Key::new(3, i)).unwrap().to_vec::<f32>().unwrap();
            found[places.iter().position(|place| *place == dst).expect("a place of the mirrored picture")] +=
                1;
        }
        assert!(found.iter().all(|count| (60..140).contains(count)), "{found:?}");
    }

    #[test]
    fn a_crop_as_large_as_the_picture_is_refused() {
        let augment = Augment { crop: 3, ..Augment::default() };
        assert!(augment.apply(&picture(1, 4, 5), Key::new(1, 1)).is_ok());
        let error = augment.apply(&picture(1, 3, 5), Key::new(1, 1)).unwrap_err().to_string();
        assert!(error.contains("crop 3") && error.contains("3 x 5"), "{error}");
    }

    #[test]
    fn a_cutout_is_a_square_of_the_mean_about_any_pixel() {
        let (h, w, side) = (7usize, 6usize, 3usize);
        let image = picture(2, h, w);
        let src = image.to_vec::<u8>().unwrap();
        let mean = |c: usize| {
            let plane = &src[c * h * w..][..h * w];
            (plane.iter().map(|&byte| f64::from(byte)).sum::<f64>() / (h * w) as f64) as f32
        };
        let augment = Augment { cutout: side, ..Augment::default() };
        let mut found = vec![0usize; h * w];
        for i in 0..4200 {
            let dst = augment.apply(&image, Key::new(3, i)).unwrap().to_vec::<f32>().unwrap();
            // Of each channel the same cells, and those are a square of 3 about (y, x).
            let cut = |c: usize, cell: usize| dst[c * h * w + cell] != f32::from(src[c * h * w + cell]);
            let cells: Vec<usize> = (0..h * w).filter(|&cell| cut(0, cell)).collect();
            assert!((0..h * w).all(|cell| cut(0, cell) == cut(1, cell)));
            assert!(cells.iter().all(|cell| (0..2).all(|c| dst[c * h * w + cell] == mean(c))));
            let centre = |cell: usize| {
                let near =
                    |other: usize| (other / w).abs_diff(cell / w) <= 1 && (other % w).abs_diff(cell % w) <= 1;
                (0..h * w).all(|other| near(other) == cells.contains(&other))
            };
            found[(0..h * w).find(|&cell| centre(cell)).expect("a square of three")] += 1;
        }
        assert!(found.iter().all(|count| (60..140).contains(count)), "{found:?}");
    }

    #[test]
    fn draws_fill_their_ranges_and_follow_from_the_key() {
        let augment = Augment { rotation: 30.0, scale: (0.5, 2.0), shift: 3.0, ..Augment::default() };
        let image = picture(1, 9, 9);
        let a = augment.apply(&image, Key::new(1, 1)).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(a, augment.apply(&image, Key::new(1, 1)).unwrap().to_vec::<f32>().unwrap());
        assert_ne!(a, augment.apply(&image, Key::new(1, 2)).unwrap().to_vec::<f32>().unwrap());
    }

    #[test]
    fn ranges_that_make_no_sense_are_refused() {
        let bad = [
            Augment { rotation: -1.0, ..Augment::default() },
            Augment { rotation: f64::NAN, ..Augment::default() },
            Augment { scale: (0.0, 1.0), ..Augment::default() },
            Augment { scale: (1.2, 0.8), ..Augment::default() },
            Augment { scale: (1.0, f64::INFINITY), ..Augment::default() },
            Augment { shift: f64::INFINITY, ..Augment::default() },
            Augment { shear: 90.0, ..Augment::default() },
        ];
        for augment in bad {
            let error = augment.check().unwrap_err();
            assert!(error.hint_text().is_some(), "{error}");
        }
    }
}
