// A weight with the part of an adapter in it, for a file to keep.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/adapter.h"

namespace tramontane {

struct MergeRequest {
  std::vector<std::string> files;
  WeightPlace weight;
  ModelShape shape;
  AdapterDescription adapter;  // With the pair of the weight alone.
  float scale;                 // Beside the pair's own.
  Format format;               // One that can_encode().
  int32_t threads;
};

// Writes [rows][columns] in the format into `out`, which is `bytes` long. The sums are in double.
// Throws Error, and std::bad_alloc.
void merge_weight(const MergeRequest& request, uint8_t* out, uint64_t bytes);

}  // namespace tramontane
