#include "engine/step_times.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace tramontane {
namespace {

// The newest step's part of the average; what slows a step down for once says less.
constexpr double kNewest = 0.2, kNewestAndFaster = 0.5;
// What a doubted time loses at once.
constexpr double kDoubt = 0.05;
// A row beyond all that was seen costs at most this part of a step of one row: with more, rows
// would gain nothing by sharing a step.
constexpr double kRowShare = 0.25;

}  // namespace

void StepTimes::add(int32_t rows, double seconds) {
  size_t nearest = 0;
  for (size_t i = 1; i < kRows.size(); ++i) {
    if (std::abs(kRows[i] - rows) < std::abs(kRows[nearest] - rows)) nearest = i;
  }
  // A step of 14 rows says of one of 16 that it takes 16 / 14 of the time.
  seconds *= static_cast<double>(kRows[nearest]) / rows;
  double& known = seconds_[nearest];
  const double part = known == 0 ? 1 : seconds < known ? kNewestAndFaster : kNewest;
  known += part * (seconds - known);
}

void StepTimes::doubt_above(int32_t rows) {
  double row = std::numeric_limits<double>::infinity();  // Seconds of one, at best.
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (seconds_[i] > 0) row = std::min(row, seconds_[i] / kRows[i]);
  }
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i] <= rows) continue;
    seconds_[i] = std::min(seconds_[i], std::max((1 - kDoubt) * seconds_[i], kRows[i] * row));
  }
}

double StepTimes::estimate(int32_t rows) const {
  int32_t below = 0;  // Rows of the nearest point that is not above, and its time.
  double time = 0;
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (seconds_[i] == 0) continue;
    if (kRows[i] == rows) return seconds_[i];
    if (kRows[i] > rows) {
      if (below == 0) return seconds_[i] * rows / kRows[i];
      const double part = static_cast<double>(rows - below) / (kRows[i] - below);
      return time + part * (seconds_[i] - time);
    }
    below = kRows[i];
    time = seconds_[i];
  }
  return below == 0 ? 0 : time * (1 + kRowShare * (rows - below) / below);
}

}  // namespace tramontane
