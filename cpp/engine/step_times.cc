#include "engine/step_times.h"

#include <cmath>
#include <cstddef>

namespace tramontane {
namespace {

// The newest step's part of the average.
constexpr double kNewest = 0.2;
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
  known = known == 0 ? seconds : known + kNewest * (seconds - known);
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
