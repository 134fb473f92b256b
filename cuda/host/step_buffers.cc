#include "host/step_buffers.h"

#include <algorithm>

#include "kernels/linear.h"

namespace tramontane::cuda {
namespace {

int64_t aligned(int64_t bytes) { return (bytes + 15) / 16 * 16; }

// Rows of activations come in whole buckets.
int padded(int rows) { return divide_up(rows, kMaxDotRows) * kMaxDotRows; }

int bucket(int rows) {
  int size = 1;
  while (size < rows) size *= 2;
  return size;
}

}  // namespace

StepBuffers::StepBuffers(const BackendOptions& options, int processors)
    : options_(options),
      wanted_blocks_(4 * processors),
      rows_at_(0),
      outputs_at_(aligned(rows_at_ + padded(options.max_rows) * int64_t{sizeof(StepRow)})),
      list_at_(aligned(outputs_at_ + padded(options.max_outputs) * int64_t{sizeof(int)})),
      tiles_at_(aligned(list_at_ + padded(options.max_rows) * int64_t{sizeof(int)})),
      pages_at_(aligned(tiles_at_ + padded(options.max_rows) * int64_t{sizeof(QueryTile)})) {
  const int64_t bytes = pages_at_ + 4 * int64_t{sizeof(int)} * options.pages;
  pinned_ = PinnedArray<uint8_t>(bytes);
  device_ = DeviceArray<uint8_t>(bytes);
}

StepState StepBuffers::state() const {
  return {reinterpret_cast<StepRow*>(device_.data() + rows_at_),
          reinterpret_cast<int*>(device_.data() + pages_at_),
          reinterpret_cast<int*>(device_.data() + outputs_at_)};
}

int StepBuffers::max_parts() const {
  return std::max(padded(options_.max_rows),
                  2 * wanted_blocks_ / std::max(1, options_.shape.kv_heads) + kMaxDotRows);
}

// As many parts as keep the device busy, none shorter than 64 keys.
int StepBuffers::choose_splits(int rows, int keys) const {
  int splits = 1;
  while (rows * options_.shape.kv_heads * splits < wanted_blocks_ && keys / (2 * splits) >= 64) {
    splits *= 2;
  }
  return splits;
}

bool StepBuffers::begin(const Step& step, const Stream& stream) {
  int64_t pages = 0;
  for (int s = 0; s < step.sequence_count; ++s) pages += step.sequences[s].page_count;
  const int64_t bytes = pages_at_ + aligned(pages * int64_t{sizeof(int)});
  bool moved = false;
  if (in_flight_) copied_.wait();
  if (bytes > device_.size()) {
    stream.synchronize();
    pinned_ = PinnedArray<uint8_t>(2 * bytes);
    device_ = DeviceArray<uint8_t>(2 * bytes);
    moved = true;
  }

  const ModelShape& shape = options_.shape;
  auto* rows = reinterpret_cast<StepRow*>(pinned_.data() + rows_at_);
  auto* outputs = reinterpret_cast<int*>(pinned_.data() + outputs_at_);
  auto* list = reinterpret_cast<int*>(pinned_.data() + list_at_);
  auto* tiles = reinterpret_cast<QueryTile*>(pinned_.data() + tiles_at_);
  auto* rings = reinterpret_cast<int*>(pinned_.data() + pages_at_);
  const bool decode = step.rows <= kMaxDotRows;
  const bool tiled = !decode && tiles_attention(shape.heads, shape.kv_heads, shape.head_size,
                                                options_.kv_type == KvType::kF16);
  plan_ = {decode ? bucket(step.rows) : step.rows,
           step.outputs == 0 ? 0
           : decode          ? bucket(step.outputs)
                             : step.outputs,
           0, 1, 0};
  int ring = 0, keys = 0;
  for (int s = 0; s < step.sequence_count; ++s) {
    const SequenceSlice& slice = step.sequences[s];
    for (int i = 0; i < slice.rows; ++i) {
      const int row = slice.first_row + i;
      rows[row] = {step.tokens[row], slice.position + i, ring, slice.page_count};
    }
    std::copy(slice.pages, slice.pages + slice.page_count, rings + ring);
    ring += slice.page_count;
    if (tiled && slice.rows > 1) {
      const int most = tile_rows(shape.heads, shape.kv_heads);
      for (int i = 0; i < slice.rows; i += most) {
        tiles[plan_.tiles++] = {slice.first_row + i, std::min(most, slice.rows - i)};
      }
      continue;
    }
    for (int i = 0; i < slice.rows; ++i) list[plan_.listed++] = slice.first_row + i;
    keys = std::max(keys, slice.position + slice.rows);
  }
  for (int row = step.rows; row < plan_.rows; ++row) {
    rows[row] = {0, -1, 0, 1};
    list[plan_.listed++] = row;
  }
  for (int i = 0; i < plan_.outputs; ++i) outputs[i] = i < step.outputs ? step.output_rows[i] : 0;
  if (options_.window) keys = std::min(keys, options_.window);
  plan_.splits = plan_.listed ? choose_splits(plan_.listed, keys) : 1;
  stream.copy_to_device(device_.data(), pinned_.data(), bytes);
  copied_.record(stream);
  in_flight_ = true;
  return moved;
}

}  // namespace tramontane::cuda
