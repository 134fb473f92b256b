// Where the f16 scales of blocks lie.
#pragma once

#include <vector>

#include "quant/format.h"

namespace tramontane::test {

inline std::vector<int> half_offsets(Format format) {
  switch (format) {
    case Format::kQ2_K:
      return {80, 82};
    case Format::kQ3_K:
      return {108};
    case Format::kQ6_K:
      return {208};
    case Format::kQ4_1:
    case Format::kQ5_1:
    case Format::kQ4_K:
    case Format::kQ5_K:
      return {0, 2};
    default:
      return {0};
  }
}

}  // namespace tramontane::test
