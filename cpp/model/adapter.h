// A low-rank adapter of a loaded model: what its requests' rows are computed with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/model.h"
#include "model/pages.h"
#include "model/weight_files.h"

namespace tramontane {

// A pair of an adapter's file. Believed only as far as it is checked again.
struct AdapterPairPlace {
  Role role;
  int32_t layer;
  float scale;
  WeightPlace down, up, magnitude;  // Of role and layer nothing.
  bool has_magnitude;
};

struct AdapterDescription {
  std::string file;
  std::vector<AdapterPairPlace> pairs;
  // In which order the file has the rows of queries and keys.
  RopePairing rope_pairing;
};

// Where the rows of a weight are in an adapter's file, whose heads may be in the other order.
class AdapterRows {
 public:
  AdapterRows(const ModelShape& shape, RopePairing file, Role role)
      : wanted_(shape.rope_pairing),
        head_size_(shape.head_size),
        same_(file == wanted_ || (role != Role::kQuery && role != Role::kKey)) {}

  bool same() const { return same_; }
  // Worked example, heads of 8: as halves rows 0 4, 1 5, 2 6, 3 7 are rotated together, which as
  // neighbours are 0 1, 2 3, ...
  int64_t of(int64_t row) const {
    if (same_) return row;
    const int64_t head = row / head_size_ * head_size_, i = row % head_size_;
    const int64_t half = head_size_ / 2;
    if (wanted_ == RopePairing::kNeighbours) return head + i / 2 + i % 2 * half;
    return head + i % half * 2 + i / half;
  }

 private:
  const RopePairing wanted_;
  const int64_t head_size_;
  const bool same_;
};

// Goes before its model does; requests that use it hold it.
class Adapter {
 public:
  // Reads the file into memory and loads it in the model's backend, beside whatever runs there.
  // Throws Error, and std::bad_alloc.
  Adapter(Model& model, const AdapterDescription& description);
  ~Adapter();
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;

  // In steps. Never used again for another one.
  int32_t id() const { return id_; }
  // Of all that it does to rows: adapters of the same content have the same.
  const PageKey& key() const { return key_; }
  // Of memory that it takes.
  uint64_t bytes() const { return bytes_; }

 private:
  // A tensor where it was read, or a copy with rows in the model's order or decoded.
  WeightData arrange(const WeightPlace& place, const AdapterRows* order, bool as_f32);
  void find_key();

  Model& model_;
  const int32_t id_;
  const WeightFiles files_;
  std::vector<AlignedBuffer<uint8_t>> arranged_;  // Those that do not stay where they were read.
  std::vector<AdapterPair> pairs_;
  uint64_t bytes_ = 0;
  PageKey key_;
};

}  // namespace tramontane
