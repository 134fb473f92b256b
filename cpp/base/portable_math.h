// exp, log, pow, sin and cos as sums and products in a written order: the same bits on every
// processor and C library, whose own differ in the last bit. What reaches logits or chooses tokens
// is computed with these. Square roots and quotients need no such care: IEEE 754 fixes them.
#pragma once

namespace tramontane::portable {

// To 1.1 units in the last place, as the row kernels have it: 0 below -87.3, where results would be
// subnormal, infinity above 88.3, NaN for NaN.
float exp(float x);

// To 1 unit in the last place; where the result is subnormal, to 1 of those units.
double exp(double x);

// To 1 unit in the last place; -infinity for 0, NaN below.
double log(double x);

// x^y, to 1 unit in the last place from 1e-20 to 1e20 and to 5 where it is normal. x is positive
// and finite.
double pow(double x, double y);

// Off by at most 2^-52, for |x| <= 2^31; NaN beyond.
double sin(double x);
double cos(double x);

}  // namespace tramontane::portable
