// The CPU implementations: each the kernels for one instruction set. One is chosen at run time.
#pragma once

#include <string>
#include <vector>

#include "cpu/linear/linear.h"
#include "cpu/products/tiles.h"
#include "cpu/rows/rows.h"

namespace tramontane::cpu {

struct Implementation {
  const char* name;
  bool (*supported)();  // By this processor.
  const LinearKernels* linear;
  const RowKernels* rows;
  const TileKernels* tiles;
};

// All that were compiled in, the best first. The last runs everywhere.
const std::vector<Implementation>& implementations();

// The best one this processor supports, or the one called `name` unless that is null or empty.
// Null when it does not exist or is not supported; `error` then says what there is.
const Implementation* choose_implementation(const char* name, std::string* error);

}  // namespace tramontane::cpu
