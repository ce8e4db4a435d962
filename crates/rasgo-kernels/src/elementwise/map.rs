//! One loop for each number of arrays; the functions are inlined into it.

use std::marker::PhantomData;

use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;
use crate::{Isa, Stored};

isa_fn! {
    pub(super) fn map_chunk<T: Copy, D: Copy, F: Fn(T) -> D>(src: &[T], dst: &mut [D], f: &F) {
        for (dst, src) in dst.iter_mut().zip(src) {
            *dst = f(*src);
        }
    }
}

isa_fn! {
    pub(super) fn map_chunk_in_place<T: Copy, F: Fn(T) -> T>(dst: &mut [T], f: &F) {
        for dst in dst {
            *dst = f(*dst);
        }
    }
}

isa_fn! {
    pub(super) fn zip_chunk<T: Copy, D: Copy, F: Fn(T, T) -> D>(a: &[T], b: &[T], dst: &mut [D], f: &F) {
        for ((dst, a), b) in dst.iter_mut().zip(a).zip(b) {
            *dst = f(*a, *b);
        }
    }
}

isa_fn! {
    pub(super) fn zip_chunk_in_place<T: Copy, F: Fn(T, T) -> T>(a: &mut [T], b: &[T], f: &F) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = f(*a, *b);
        }
    }
}

/// Where a function of one argument is applied; the choice of function is made outside, once for all places.
pub(super) trait Place<T> {
    fn apply(self, f: impl Fn(T) -> T + Sync);
}

/// Where a function of two arguments is applied; its values may be of another type.
pub(super) trait Place2<T, D = T> {
    fn apply(self, f: impl Fn(T, T) -> D + Sync);
}

/// `dst = f(src)`
pub(super) struct Into<'a, T> {
    pub(super) src: &'a [T],
    pub(super) dst: &'a mut [T],
}

/// `dst = f(dst)`
pub(super) struct InPlace<'a, T> {
    pub(super) dst: &'a mut [T],
}

/// `dst = f(a, b)`
pub(super) struct Into2<'a, T, D = T> {
    pub(super) a: &'a [T],
    pub(super) b: &'a [T],
    pub(super) dst: &'a mut [D],
}

/// `a = f(a, b)`
pub(super) struct InFirst<'a, T> {
    pub(super) a: &'a mut [T],
    pub(super) b: &'a [T],
}

/// `b = f(a, b)`
pub(super) struct InSecond<'a, T> {
    pub(super) a: &'a [T],
    pub(super) b: &'a mut [T],
}

/// A place of maps, for functions of what they are computed in.
pub(super) struct Maps<S, P> {
    place: P,
    stored: PhantomData<S>,
}

impl<S, P> Maps<S, P> {
    pub(super) fn new(place: P) -> Self {
        Maps { place, stored: PhantomData }
    }
}

impl<S: Stored, P: Place<S>> Place<S::Wide> for Maps<S, P> {
    fn apply(self, f: impl Fn(S::Wide) -> S::Wide + Sync) {
        self.place.apply(|x: S| S::narrow(f(x.wide())));
    }
}

impl<S: Stored, P: Place2<S>> Place2<S::Wide> for Maps<S, P> {
    fn apply(self, f: impl Fn(S::Wide, S::Wide) -> S::Wide + Sync) {
        self.place.apply(|a: S, b: S| S::narrow(f(a.wide(), b.wide())));
    }
}

impl<T: Copy + Send + Sync> Place<T> for Into<'_, T> {
    fn apply(self, f: impl Fn(T) -> T + Sync) {
        assert_eq!(self.src.len(), self.dst.len(), "source and destination have the same length");
        let (isa, src) = (Isa::current(), self.src);
        parallel_chunks(self.dst, CHUNK, |i, dst| map_chunk(isa, &src[i * CHUNK..], dst, &f));
    }
}

impl<T: Copy + Send + Sync> Place<T> for InPlace<'_, T> {
    fn apply(self, f: impl Fn(T) -> T + Sync) {
        let isa = Isa::current();
        parallel_chunks(self.dst, CHUNK, |_, dst| map_chunk_in_place(isa, dst, &f));
    }
}

impl<T: Copy + Send + Sync, D: Copy + Send> Place2<T, D> for Into2<'_, T, D> {
    fn apply(self, f: impl Fn(T, T) -> D + Sync) {
        assert_eq!(self.a.len(), self.dst.len(), "operands and destination have the same length");
        assert_eq!(self.b.len(), self.dst.len(), "operands and destination have the same length");
        let (isa, a, b) = (Isa::current(), self.a, self.b);
        parallel_chunks(self.dst, CHUNK, |i, dst| zip_chunk(isa, &a[i * CHUNK..], &b[i * CHUNK..], dst, &f));
    }
}

impl<T: Copy + Send + Sync> Place2<T> for InFirst<'_, T> {
    fn apply(self, f: impl Fn(T, T) -> T + Sync) {
        assert_eq!(self.a.len(), self.b.len(), "operands have the same length");
        let (isa, b) = (Isa::current(), self.b);
        parallel_chunks(self.a, CHUNK, |i, a| zip_chunk_in_place(isa, a, &b[i * CHUNK..], &f));
    }
}

impl<T: Copy + Send + Sync> Place2<T> for InSecond<'_, T> {
    fn apply(self, f: impl Fn(T, T) -> T + Sync) {
        InFirst { a: self.b, b: self.a }.apply(|b, a| f(a, b));
    }
}
