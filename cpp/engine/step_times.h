// What steps have cost of late, by the number of their rows.
#pragma once

#include <array>
#include <cstdint>

namespace tramontane {

// Remembers seconds for steps of about 1, 2, 4, 8, 12, 16, 24, ... rows, as a moving average, and
// estimates others by straight lines between them. Times depend on the machine, the model, the
// neighbours and the length of contexts; this follows all of them.
class StepTimes {
 public:
  void add(int32_t rows, double seconds);
  // A step had `rows` and no more, for what more would take. What is remembered of that may be one
  // slow step of long ago: it is believed a little less each time, but for what rows take at best.
  void doubt_above(int32_t rows);
  // 0 while nothing is known.
  double estimate(int32_t rows) const;

 private:
  static constexpr std::array<int32_t, 16> kRows = {1,  2,  4,  8,   12,  16,  24,  32,
                                                    48, 64, 96, 128, 192, 256, 384, 512};
  std::array<double, kRows.size()> seconds_{};  // 0: not seen yet.
};

}  // namespace tramontane
