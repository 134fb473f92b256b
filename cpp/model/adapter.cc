#include "model/adapter.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <future>

#include "base/error.h"

namespace tramontane {
namespace {

int32_t next_id() {
  static std::atomic<int32_t> last{0};
  return ++last;
}

uint64_t bytes_of(const WeightData& data) {
  return matrix_bytes(format_info(data.format), data.rows, data.columns);
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

PageKey key_of(const AdapterPair& pair) {
  KeyedHash hash;
  hash.add(uint64_t(pair.role) << 32 | uint32_t(pair.layer));
  hash.add(std::bit_cast<uint32_t>(pair.scale));
  for (const WeightData* data : {&pair.down, &pair.up}) {
    hash.add(uint64_t(data->format) << 32 | uint32_t(data->columns));
    add_bytes(hash, data->data, bytes_of(*data));
  }
  const bool scaled = pair.magnitude != nullptr;
  add_bytes(hash, reinterpret_cast<const uint8_t*>(pair.magnitude),
            scaled ? uint64_t(pair.up.rows) * sizeof(float) : 0);
  return hash.finish();
}

}  // namespace

Adapter::Adapter(Model& model, const AdapterDescription& description)
    : model_(model),
      id_(next_id()),
      files_({description.file}, Mapping::kRead, model.memory_groups()) {
  for (const AdapterPairPlace& place : description.pairs) {
    const AdapterRows order(model.shape(), description.rope_pairing, place.role);
    AdapterPair pair{};
    pair.role = place.role;
    pair.layer = place.layer;
    pair.scale = place.scale;
    pair.down = arrange(place.down, nullptr, !is_float(place.down.format));
    pair.up = arrange(place.up, &order, !is_float(place.up.format));
    if (place.has_magnitude) {
      const WeightData magnitude = arrange(place.magnitude, &order, true);
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

WeightData Adapter::arrange(const WeightPlace& place, const AdapterRows* order, bool as_f32) {
  WeightData data = files_.find(place).data;
  const bool reorder = order != nullptr && !order->same();
  if (!reorder && !as_f32) return data;
  const int64_t columns = data.columns, rows = data.rows;
  const int64_t row_bytes = static_cast<int64_t>(bytes_of(data)) / rows;
  const int64_t arranged_row = as_f32 ? columns * int64_t{sizeof(float)} : row_bytes;
  AlignedBuffer<uint8_t>& arranged = arranged_.emplace_back();
  arranged.reserve(static_cast<size_t>(rows * arranged_row));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t from = reorder ? order->of(row) : row;
    if (from >= rows) throw Error("INVALID_FILE", place.name + " does not fit its weight");
    const uint8_t* source = data.data + from * row_bytes;
    uint8_t* out = arranged.data() + row * arranged_row;
    if (as_f32) {
      decode_blocks(data.format, source, columns / format_info(data.format).block_values,
                    reinterpret_cast<float*>(out));
    } else {
      std::memcpy(out, source, static_cast<size_t>(row_bytes));
    }
  }
  bytes_ += static_cast<uint64_t>(rows * arranged_row);
  data.data = arranged.data();
  if (as_f32) data.format = Format::kF32;
  return data;
}

// By two threads: this is most of what loading takes.
void Adapter::find_key() {
  std::vector<PageKey> keys(pairs_.size());
  std::atomic<size_t> next{0};
  const auto find = [&] {
    for (size_t i; (i = next++) < keys.size();) keys[i] = key_of(pairs_[i]);
  };
  auto other = std::async(find);
  find();
  other.get();
  KeyedHash hash;
  for (const PageKey& key : keys) {
    hash.add(key.high);
    hash.add(key.low);
  }
  key_ = hash.finish();
}

}  // namespace tramontane
