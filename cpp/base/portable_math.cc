#include "base/portable_math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace tramontane::portable {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// ln 2 in two parts: exponents times the first are exact.
constexpr double kLn2High = 0x1.62e42fecp-1, kLn2Low = 0x1.d1cf79abc9e3bp-32;

// Coefficients from the lowest power on.
template <size_t N>
double polynomial(const double (&coefficients)[N], double x) {
  double value = coefficients[N - 1];
  for (size_t i = N - 1; i-- > 0;) value = value * x + coefficients[i];
  return value;
}

double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

// exp(x + low), low being far smaller than x. As for floats, with the series to the 13th power.
double exp_of_sum(double x, double low) {
  if (std::isnan(x)) return x;
  if (x > 710) return kInfinity;
  if (x < -746) return 0;
  constexpr double kSeries[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
  const double n = std::rint(x * 0x1.71547652b82fep+0);
  const double r = (x - n * kLn2High) - n * kLn2Low + low;
  const double value = 1 + (r + r * r * polynomial(kSeries, r));
  const int exponent = static_cast<int>(n), half = exponent / 2;
  return value * power_of_two(half) * power_of_two(exponent - half);
}

// x = 2^exponent * (1 + f), with 1 + f from sqrt(1/2) to sqrt(2).
double split(double x, int* exponent) {
  double m = std::frexp(x, exponent);
  if (m < 0x1.6a09e667f3bcdp-1) {
    m *= 2;
    --*exponent;
  }
  return m - 1;
}

// R(s^2) of log((1 + s) / (1 - s)) = 2s + s R(s^2).
double log_series(double z) {
  constexpr double kSeries[] = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11,
                                2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21};
  return z * polynomial(kSeries, z);
}

// x = quarters * pi / 2 + rest.
struct Angle {
  double rest;
  int quadrant;
};

// pi / 2 in four parts: whole numbers below 2^31 times each of the first three are exact.
Angle reduce(double x) {
  const double n = std::rint(x * 0x1.45f306dc9c883p-1);
  const double rest = ((x - n * 0x1.921fbp+0) - n * 0x1.5110bp-22) - n * 0x1.184698p-44;
  return {rest - n * 0x1.3198a2e037073p-69, static_cast<int>(static_cast<int64_t>(n) & 3)};
}

// Of angles up to pi / 4.
double small_sin(double x) {
  constexpr double kSeries[] = {
      -1.0 / 6,        1.0 / 120,        -1.0 / 5040,          1.0 / 362880,
      -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000};
  const double z = x * x;
  return x + x * z * polynomial(kSeries, z);
}

double small_cos(double x) {
  constexpr double kSeries[] = {
      1.0 / 24,        -1.0 / 720,         1.0 / 40320,         -1.0 / 3628800,
      1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000};
  const double z = x * x;
  return 1 - (z / 2 - z * z * polynomial(kSeries, z));
}

}  // namespace

// x = n ln 2 + r with |r| <= ln(2) / 2, and the Taylor series of exp(r) to the seventh power, whose
// remainder is 5e-9. The vectors of cpu/rows do the same.
float exp(float x) {
  if (std::isnan(x)) return x;
  if (x > 88.3f) return std::numeric_limits<float>::infinity();
  if (x < -87.3f) return 0;
  const float n = std::rint(x * 1.44269504f);
  // ln 2 in two parts, the first short enough that n times it is exact.
  const float r = std::fma(n, 2.12194440e-4f, std::fma(n, -0.693359375f, x));
  constexpr float kSeries[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  float series = 1.0f / 5040;
  for (const float factor : kSeries) series = std::fma(series, r, factor);
  return series * std::bit_cast<float>(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23);
}

double exp(double x) { return exp_of_sum(x, 0); }

// With s = f / (2 + f): log(1 + f) = 2s + s R(s^2) = f - s (f - R(s^2)), where f is exact.
double log(double x) {
  if (!(x > 0)) return x == 0 ? -kInfinity : kNan;
  if (x == kInfinity) return x;
  int exponent;
  const double f = split(x, &exponent), s = f / (2 + f);
  const double correction = s * (f - log_series(s * s));
  return exponent * kLn2High + (f - (correction - exponent * kLn2Low));
}

// exp(y log(x)), the logarithm in two numbers.
double pow(double x, double y) {
  int exponent;
  const double f = split(x, &exponent);
  const double sum = 2 + f, sum_rest = f - (sum - 2);
  const double s = f / sum, s_rest = (std::fma(-s, sum, f) - s * sum_rest) / sum;
  const double first = exponent * kLn2High, both = first + 2 * s;
  const double rest =
      (2 * s - (both - first)) + (2 * s_rest + (s * log_series(s * s) + exponent * kLn2Low));
  const double high = both + rest, low = rest - (high - both);
  const double product = y * high;
  return exp_of_sum(product, std::fma(y, high, -product) + y * low);
}

double sin(double x) {
  if (!(std::fabs(x) <= 0x1p31)) return kNan;
  const auto [rest, quadrant] = reduce(x);
  const double value = quadrant % 2 == 0 ? small_sin(rest) : small_cos(rest);
  return quadrant < 2 ? value : -value;
}

double cos(double x) {
  if (!(std::fabs(x) <= 0x1p31)) return kNan;
  const auto [rest, quadrant] = reduce(x);
  const double value = quadrant % 2 == 0 ? small_cos(rest) : small_sin(rest);
  return quadrant == 0 || quadrant == 3 ? value : -value;
}

}  // namespace tramontane::portable
