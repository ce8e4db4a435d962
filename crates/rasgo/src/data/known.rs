//! Data sets that have MNIST's file names and are not MNIST, told by their content.

/// Fashion-MNIST's classes, in the order of its labels.
const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// The first ten labels of the parts: (number of labels, labels, name).
const STARTS: [(usize, [u8; 10], &str); 4] = [
    (60_000, [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], MNIST),
    (10_000, [7, 2, 1, 0, 4, 1, 4, 9, 5, 9], MNIST),
    (60_000, [9, 0, 0, 3, 0, 2, 7, 2, 5, 5], FASHION_MNIST),
    (10_000, [9, 2, 1, 1, 6, 1, 4, 6, 5, 7], FASHION_MNIST),
];

const MNIST: &str = "MNIST";
const FASHION_MNIST: &str = "Fashion-MNIST";

/// The name of the data set with these labels, if it is known.
pub(super) fn name(labels: &[u8]) -> Option<&'static str> {
    STARTS
        .iter()
        .find(|(count, start, _)| labels.len() == *count && labels.starts_with(start))
        .map(|(.., name)| *name)
}

/// The names of the classes of the data set with these labels, if it is known and has names of its own.
pub(super) fn classes(labels: &[u8]) -> Option<Vec<String>> {
    (name(labels) == Some(FASHION_MNIST)).then(|| FASHION.map(String::from).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_known_by_its_first_labels_and_their_number() {
        for (count, start, expected) in STARTS {
            let mut labels = start.to_vec();
            labels.resize(count, 0);
            assert_eq!(name(&labels), Some(expected));
            let bag = classes(&labels).map(|names| names[8].clone());
            assert_eq!(bag.as_deref(), (expected == FASHION_MNIST).then_some("Bag"));
            labels.push(0);
            assert_eq!(name(&labels), None);
        }
    }
}
