// Our own exp, log, pow, sin and cos against the C library's in long double.
#include "base/portable_math.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "test.h"

using namespace tramontane;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// Where long double is double, as in Visual C++, what we compare with may be a unit off too.
constexpr double kOwnError = std::numeric_limits<long double>::digits > 53 ? 0 : 1;

// |value - exact| in units of the last place of a T as large as exact.
template <typename T>
double error(T value, long double exact) {
  int exponent;
  std::frexp(exact, &exponent);
  exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
  const long double unit = std::ldexp(1.0L, exponent - std::numeric_limits<T>::digits);
  return static_cast<double>(std::fabs(static_cast<long double>(value) - exact) / unit);
}

// The larger one; NaN is the largest.
void raise(double* worst, double error) { *worst = error <= *worst ? *worst : error; }

// Calls visit(x) for some 50,000 values from `from` to `to`.
template <typename Visit>
void sweep(double from, double to, Visit visit) {
  constexpr int kSteps = 50'003;
  for (int i = 0; i <= kSteps; ++i) visit(from + (to - from) * i / kSteps);
}

TEST("portable exp of floats errs by 1.1 units at most, and ends where it says") {
  double worst = 0;
  sweep(-87.29, 88.29, [&](double at) {
    const float x = static_cast<float>(at);
    raise(&worst, error(portable::exp(x), std::exp(static_cast<long double>(x))));
  });
  CHECK_NEAR(worst, 0, 1.1);
  CHECK_EQ(portable::exp(0.0f), 1.0f);
  CHECK_EQ(portable::exp(-0.0f), 1.0f);
  CHECK_EQ(portable::exp(88.31f), std::numeric_limits<float>::infinity());
  CHECK_EQ(portable::exp(-87.31f), 0.0f);
  CHECK_EQ(portable::exp(-std::numeric_limits<float>::infinity()), 0.0f);
  CHECK(std::isnan(portable::exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST("portable exp errs by a unit at most, among subnormals too") {
  double worst = 0;
  const auto visit = [&](double x) {
    raise(&worst, error(portable::exp(x), std::exp(static_cast<long double>(x))));
  };
  sweep(-745, 709.7, visit);
  sweep(-1, 1, visit);
  sweep(-1e-9, 1e-9, visit);
  CHECK_NEAR(worst, 0, 1 + kOwnError);
  CHECK_EQ(portable::exp(0.0), 1.0);
  CHECK_EQ(portable::exp(710.0), kInfinity);
  CHECK_EQ(portable::exp(kInfinity), kInfinity);
  CHECK_EQ(portable::exp(-750.0), 0.0);
  CHECK_EQ(portable::exp(-kInfinity), 0.0);
  CHECK(std::isnan(portable::exp(kNan)));
}

TEST("portable log errs by a unit at most, near 1 too") {
  double worst = 0;
  const auto visit = [&](double x) {
    raise(&worst, error(portable::log(x), std::log(static_cast<long double>(x))));
  };
  sweep(0.4, 3, visit);
  sweep(1 - 1e-6, 1 + 1e-6, visit);
  sweep(1, 1e6, visit);
  sweep(-1074, 1023, [&](double exponent) { visit(std::exp2(exponent)); });
  CHECK_NEAR(worst, 0, 1 + kOwnError);
  CHECK_EQ(portable::log(1.0), 0.0);
  CHECK_EQ(portable::log(0.0), -kInfinity);
  CHECK_EQ(portable::log(kInfinity), kInfinity);
  CHECK(std::isnan(portable::log(-1.0)) && std::isnan(portable::log(kNan)));
}

TEST("portable pow errs by two units at most, by five where results are very large or small") {
  double worst = 0, worst_far = 0;
  const auto visit = [&](double x, double y) {
    const long double exact = std::pow(static_cast<long double>(x), static_cast<long double>(y));
    raise(exact > 1e-20L && exact < 1e20L ? &worst : &worst_far, error(portable::pow(x, y), exact));
  };
  for (const double base : {1.0, 1.5, 100.0, 1e4, 5e5, 1e6, 1e9, 1e15}) {
    for (const int size : {8, 64, 128, 256, 4096}) {
      for (int i = 0; i < size; i += 2) visit(base, -static_cast<double>(i) / size);
    }
  }
  sweep(0.01, 100, [&](double x) {
    visit(x, 1 / x);
    visit(x, -150);
    visit(x, 4.07);
  });
  CHECK_NEAR(worst, 0, 2 + kOwnError);
  CHECK_NEAR(worst_far, 0, 5 + kOwnError);
  CHECK_EQ(portable::pow(1e6, 0.0), 1.0);
  CHECK_EQ(portable::pow(1.0, -0.3), 1.0);
  CHECK_EQ(portable::pow(1e300, 2.0), kInfinity);
  CHECK_EQ(portable::pow(1e300, -2.0), 0.0);
}

TEST("portable sin and cos err by 2^-52 at most up to 2^31, and say what lies beyond") {
  double worst = 0;
  const auto visit = [&](double x) {
    const long double sine = std::sin(static_cast<long double>(x));
    const long double cosine = std::cos(static_cast<long double>(x));
    raise(&worst, std::fabs(static_cast<double>(portable::sin(x) - sine)));
    raise(&worst, std::fabs(static_cast<double>(portable::cos(x) - cosine)));
  };
  sweep(-10, 10, visit);
  sweep(-1e5, 1e5, visit);
  sweep(-0x1p31, 0x1p31, visit);
  // As near to multiples of pi / 2 as doubles come.
  sweep(0, 0x1p31,
        [&](double x) { visit(std::rint(x / 1.5707963267948966) * 1.5707963267948966); });
  CHECK_NEAR(worst, 0, (1 + kOwnError) * 0x1p-52);
  CHECK_EQ(portable::sin(0.0), 0.0);
  CHECK_EQ(portable::cos(0.0), 1.0);
  for (const double beyond : {0x1.000001p31, -1e300, kInfinity, kNan}) {
    CHECK(std::isnan(portable::sin(beyond)) && std::isnan(portable::cos(beyond)));
  }
}

}  // namespace
