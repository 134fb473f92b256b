#include "model/adapter.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace tramontane {
namespace {

int32_t next_id() {
  static std::atomic<int32_t> last{0};
  return ++last;
}

uint64_t bytes_of(const WeightData& data) {
  const FormatInfo& info = format_info(data.format);
  return uint64_t(data.rows) * uint64_t(data.columns / info.block_values) *
         uint64_t(info.block_bytes);
}

// Whether the rows are of heads that are rotated, whose order files differ in.
bool is_rotated(Role role) { return role == Role::kQuery || role == Role::kKey; }

// The row of a file with the other pairing that comes to `row`. Worked example, heads of 8:
// halves have rows 0 4, 1 5, 2 6, 3 7 rotated together, which as neighbours are 0 1, 2 3, ...
uint64_t other_row(uint64_t row, uint64_t head_size, RopePairing wanted) {
  const uint64_t head = row / head_size * head_size, i = row % head_size, half = head_size / 2;
  if (wanted == RopePairing::kNeighbours) return head + i / 2 + i % 2 * half;
  return head + i % half * 2 + i / half;
}

// Hashes every other word each, which takes half the time of one after the other.
void add_bytes(KeyedHash& hash, const uint8_t* data, uint64_t bytes) {
  const auto word_at = [&](uint64_t at) {
    uint64_t word = 0;
    if (at < bytes) std::memcpy(&word, data + at, std::min<uint64_t>(sizeof word, bytes - at));
    return word;
  };
  KeyedHash parts;
  for (uint64_t at = 0; at < bytes; at += 16) parts.add(word_at(at), word_at(at + 8));
  const PageKey both = parts.finish();
  hash.add(bytes);
  hash.add(both.high);
  hash.add(both.low);
}

}  // namespace

Adapter::Adapter(Model& model, const AdapterDescription& description)
    : model_(model),
      id_(next_id()),
      files_({description.file}, Mapping::kRead, model.memory_groups()) {
  const bool other_order = description.rope_pairing != model.shape().rope_pairing;
  for (const AdapterPairPlace& place : description.pairs) {
    const bool reorder = other_order && is_rotated(place.role);
    AdapterPair pair{};
    pair.role = place.role;
    pair.layer = place.layer;
    pair.scale = place.scale;
    pair.down = arrange(place.down, false, !is_float(place.down.format));
    pair.up = arrange(place.up, reorder, !is_float(place.up.format));
    if (place.has_magnitude) {
      const WeightData magnitude = arrange(place.magnitude, reorder, true);
      if (magnitude.rows != pair.up.rows || magnitude.columns != 1) {
        throw Error("INVALID_FILE", place.magnitude.name + " does not fit its weight");
      }
      pair.magnitude = reinterpret_cast<const float*>(magnitude.data);
    }
    pairs_.push_back(pair);
  }
  bytes_ += files_.bytes();
  find_key();
  char error[256] = "";
  const Status status = model_.backend().load_adapter(
      id_, pairs_.data(), static_cast<int32_t>(pairs_.size()), error, sizeof error);
  if (status == Status::kOk) return;
  throw Error(status == Status::kOutOfMemory   ? "OUT_OF_MEMORY"
              : status == Status::kUnsupported ? "UNSUPPORTED_FILE"
                                               : "INVALID_FILE",
              description.file + ": " + error);
}

Adapter::~Adapter() { model_.backend().unload_adapter(id_); }

WeightData Adapter::arrange(const WeightPlace& place, bool reorder, bool as_f32) {
  WeightData data = files_.find(place).data;
  const uint64_t row_bytes = bytes_of(data) / uint64_t(data.rows);
  if (!reorder && !as_f32) return data;
  const uint64_t columns = uint64_t(data.columns), rows = uint64_t(data.rows);
  AlignedBuffer<uint8_t>& arranged = arranged_.emplace_back();
  const uint64_t arranged_row = as_f32 ? columns * sizeof(float) : row_bytes;
  arranged.reserve(rows * arranged_row);
  const ModelShape& shape = model_.shape();
  for (uint64_t row = 0; row < rows; ++row) {
    const uint64_t from =
        reorder ? other_row(row, uint64_t(shape.head_size), shape.rope_pairing) : row;
    if (from >= rows) throw Error("INVALID_FILE", place.name + " does not fit its weight");
    uint8_t* out = arranged.data() + row * arranged_row;
    if (as_f32) {
      decode_blocks(data.format, data.data + from * row_bytes,
                    data.columns / format_info(data.format).block_values,
                    reinterpret_cast<float*>(out));
    } else {
      std::memcpy(out, data.data + from * row_bytes, row_bytes);
    }
  }
  bytes_ += rows * arranged_row;
  data.data = arranged.data();
  if (as_f32) data.format = Format::kF32;
  return data;
}

void Adapter::find_key() {
  KeyedHash hash;
  for (const AdapterPair& pair : pairs_) {
    hash.add(uint64_t(pair.role) << 32 | uint32_t(pair.layer));
    hash.add(std::bit_cast<uint32_t>(pair.scale));
    for (const WeightData* data : {&pair.down, &pair.up}) {
      hash.add(uint64_t(data->format) << 32 | uint32_t(data->columns));
      add_bytes(hash, data->data, bytes_of(*data));
    }
    const bool scaled = pair.magnitude != nullptr;
    add_bytes(hash, reinterpret_cast<const uint8_t*>(pair.magnitude),
              scaled ? uint64_t(pair.up.rows) * sizeof(float) : 0);
  }
  key_ = hash.finish();
}

}  // namespace tramontane
