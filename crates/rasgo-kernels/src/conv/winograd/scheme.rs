//! The transforms of Winograd's minimal filtering along one axis.
//!
//! `F(M, 3)` makes `M` outputs of a filter of 3 taps from `N = M + 2` inputs with `N` multiplications:
//! `y = A^T [(G g) * (B^T d)]`. Its gradients use the same matrices: to the filter, `G^T [(A dy) * (B^T d)]`; to the
//! input, it is the forward of the mirrored filter. In two dimensions each matrix is applied along both axes.
//!
//! Source: A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*, 2015, section 4.

use crate::simd::Vector;

/// The five linear maps of one scheme, on vectors of channels. `N` inputs, `M` outputs.
pub(super) trait Scheme<const N: usize, const M: usize> {
    /// `B^T d`
    fn input<V: Vector>(d: [V; N]) -> [V; N];
    /// `A^T m`
    fn output<V: Vector>(m: [V; N]) -> [V; M];
    /// `A y`
    fn grad_output<V: Vector>(y: [V; M]) -> [V; N];
    /// `G g`
    fn filter<V: Vector>(g: [V; 3]) -> [V; N];
    /// `G^T u`
    fn grad_filter<V: Vector>(u: [V; N]) -> [V; 3];
}

/// `F(2, 3)`, of the points 0, 1, -1 and infinity.
#[derive(Debug)]
pub(super) struct F2;

impl Scheme<4, 2> for F2 {
    #[inline(always)]
    fn input<V: Vector>(d: [V; 4]) -> [V; 4] {
        [d[0].sub(d[2]), d[1].add(d[2]), d[2].sub(d[1]), d[1].sub(d[3])]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 4]) -> [V; 2] {
        [m[0].add(m[1].add(m[2])), m[1].sub(m[2]).sub(m[3])]
    }

    #[inline(always)]
    fn grad_output<V: Vector>(y: [V; 2]) -> [V; 4] {
        [y[0], y[0].add(y[1]), y[0].sub(y[1]), V::zero().sub(y[1])]
    }

    #[inline(always)]
    fn filter<V: Vector>(g: [V; 3]) -> [V; 4] {
        let half = V::splat(0.5);
        let (outer, middle) = (g[0].add(g[2]).mul(half), g[1].mul(half));
        [g[0], outer.add(middle), outer.sub(middle), g[2]]
    }

    #[inline(always)]
    fn grad_filter<V: Vector>(u: [V; 4]) -> [V; 3] {
        let half = V::splat(0.5);
        let (sum, difference) = (u[1].add(u[2]), u[1].sub(u[2]));
        [sum.mul_add(half, u[0]), difference.mul(half), sum.mul_add(half, u[3])]
    }
}

/// `F(4, 3)`, of the points 0, 1, -1, 2, -2 and infinity.
#[derive(Debug)]
pub(super) struct F4;

impl Scheme<6, 4> for F4 {
    /// The first three results and the last three share no sums, so each half can be made alone.
    #[inline(always)]
    fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        let (two, four, five) = (V::splat(2.0), V::splat(4.0), V::splat(5.0));
        let (a, b) = (d[2].neg_mul_add(four, d[4]), d[1].neg_mul_add(four, d[3]));
        let (c, e) = (d[4].sub(d[2]), d[3].sub(d[1]));
        [
            d[2].neg_mul_add(five, d[0].mul_add(four, d[4])),
            a.add(b),
            a.sub(b),
            e.mul_add(two, c),
            e.neg_mul_add(two, c),
            d[3].neg_mul_add(five, d[1].mul_add(four, d[5])),
        ]
    }

    /// The even results and the odd ones share no sums.
    #[inline(always)]
    fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        let (two, four, eight) = (V::splat(2.0), V::splat(4.0), V::splat(8.0));
        let (s1, s2) = (m[1].add(m[2]), m[3].add(m[4]));
        let (d1, d2) = (m[1].sub(m[2]), m[3].sub(m[4]));
        [m[0].add(s1).add(s2), d2.mul_add(two, d1), s2.mul_add(four, s1), d2.mul_add(eight, d1).add(m[5])]
    }

    #[inline(always)]
    fn grad_output<V: Vector>(y: [V; 4]) -> [V; 6] {
        let (two, four) = (V::splat(2.0), V::splat(4.0));
        let (even, odd) = (y[0].add(y[2]), y[1].add(y[3]));
        let (even2, odd2) = (y[2].mul_add(four, y[0]), y[3].mul_add(four, y[1]));
        [y[0], even.add(odd), even.sub(odd), odd2.mul_add(two, even2), odd2.neg_mul_add(two, even2), y[3]]
    }

    #[inline(always)]
    fn filter<V: Vector>(g: [V; 3]) -> [V; 6] {
        let sixth = V::splat(1.0 / 6.0);
        let outer = V::zero().sub(g[0].add(g[2]).mul(sixth));
        let middle = g[1].mul(sixth);
        let outer2 = g[0].mul_add(V::splat(1.0 / 24.0), g[2].mul(sixth));
        let middle2 = g[1].mul(V::splat(1.0 / 12.0));
        [
            g[0].mul(V::splat(0.25)),
            outer.sub(middle),
            outer.add(middle),
            outer2.add(middle2),
            outer2.sub(middle2),
            g[2],
        ]
    }

    #[inline(always)]
    fn grad_filter<V: Vector>(u: [V; 6]) -> [V; 3] {
        let (sixth, half) = (V::splat(1.0 / 6.0), V::splat(0.5));
        let (s1, s2) = (u[1].add(u[2]), u[3].add(u[4]));
        let (d1, d2) = (u[2].sub(u[1]), u[3].sub(u[4]));
        [
            s1.neg_mul_add(sixth, u[0].mul_add(V::splat(0.25), s2.mul(V::splat(1.0 / 24.0)))),
            d2.mul_add(half, d1).mul(sixth),
            s2.sub(s1).mul_add(sixth, u[5]),
        ]
    }
}
