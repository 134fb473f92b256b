#include "cpu/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "backend/rules.h"
#include "base/portable_math.h"

namespace tramontane::cpu {
namespace {

// Queries of a tile: enough to reuse a page many times, few enough for an L2 cache: some 250 KB
// with heads of 128.
constexpr int32_t kTileQueries = 192;
// From so many queries on, a page in f16 is converted once beforehand.
constexpr int32_t kConvertQueries = 12;

}  // namespace

Attention::Attention(const BackendOptions& options, const RowKernels& kernels,
                     const Workers& workers)
    : kernels_(kernels),
      workers_(workers),
      kv_heads_(options.shape.kv_heads),
      group_(options.shape.heads / options.shape.kv_heads),
      head_size_(options.shape.head_size),
      window_(options.window),
      tile_rows_(std::max(1, kTileQueries / group_)),
      pages_(options.shape, options.kv_type, options.pages),
      scratch_(static_cast<size_t>(workers.threads())) {}

int32_t Attention::first_visible(int32_t position) const {
  return tramontane::first_visible(position, window_);
}

void Attention::discard(int32_t page) {
  require(page >= 0 && page < pages_.pages(), "a page is out of range");
  pages_.discard(page);
}

void Attention::begin_step(const Step& step) {
  places_.clear();
  page_ids_.clear();
  tiles_.clear();
  parts_.clear();
  work_ = 0;
  for (int32_t i = 0; i < step.sequence_count; ++i) add_sequence(step.sequences[i]);
  plan_parts();
}

void Attention::add_sequence(const SequenceSlice& slice) {
  const int32_t first_page = first_visible(slice.position) / kPageTokens;
  const int32_t last_page = (slice.position + slice.rows - 1) / kPageTokens;
  const size_t page_ids = page_ids_.size();
  for (int32_t page = first_page; page <= last_page; ++page) {
    page_ids_.push_back(slice.pages[page % slice.page_count]);
    pages_.commit(page_ids_.back());
  }

  for (int32_t row = 0; row < slice.rows; ++row) {
    const int32_t position = slice.position + row;
    places_.push_back(
        {position, page_ids_[page_ids + static_cast<size_t>(position / kPageTokens - first_page)]});
    work_ += 2.0 * (position - first_visible(position) + 1) * kv_heads_ * group_ * head_size_;
  }
  for (int32_t row = 0; row < slice.rows; row += tile_rows_) {
    const int32_t rows = std::min(tile_rows_, slice.rows - row);
    const int32_t position = slice.position + row;
    const int32_t tile_page = first_visible(position) / kPageTokens;
    tiles_.push_back({slice.first_row + row, rows, tile_page, (position + rows - 1) / kPageTokens,
                      page_ids + static_cast<size_t>(tile_page - first_page)});
  }
}

// Divides tiles where there are too few of them for the threads.
void Attention::plan_parts() {
  const int64_t pieces = static_cast<int64_t>(tiles_.size()) * kv_heads_;
  if (workers_.threads() == 1 || pieces >= 2 * workers_.threads()) return;
  size_t floats = 0;
  for (size_t i = 0; i < tiles_.size(); ++i) {
    const Tile& tile = tiles_[i];
    for (int32_t page = tile.first_page; page <= tile.last_page;) {
      const int32_t last = std::min(tile.last_page, page | (kSpanPages - 1));
      parts_.push_back({static_cast<int32_t>(i), page, last, floats});
      floats += softmax_floats(tile) * static_cast<size_t>(kv_heads_);
      page = last + 1;
    }
  }
  if (parts_.size() == tiles_.size()) return parts_.clear();
  parts_memory_.reserve(floats);
}

void Attention::store(int32_t layer, int32_t row, const float* keys, const float* values) const {
  const Place& place = places_[row];
  const int32_t slot = place.position % kPageTokens;
  const size_t size = static_cast<size_t>(head_size_);
  for (int32_t head = 0; head < kv_heads_; ++head, keys += size, values += size) {
    void* page_keys = pages_.keys(place.page, layer, head);
    void* page_values = pages_.values(place.page, layer, head);
    if (pages_.type() == KvType::kF32) {
      float* to = static_cast<float*>(page_keys) + slot;
      for (size_t i = 0; i < size; ++i) to[i * kPageTokens] = keys[i];
      std::copy_n(values, size, static_cast<float*>(page_values) + slot * size);
    } else {
      uint16_t* to = static_cast<uint16_t*>(page_keys) + slot;
      for (size_t i = 0; i < size; i += 8) {
        uint16_t halves[8];
        kernels_.to_f16(keys + i, 8, halves);
        for (size_t j = 0; j < 8; ++j) to[(i + j) * kPageTokens] = halves[j];
      }
      kernels_.to_f16(values, head_size_, static_cast<uint16_t*>(page_values) + slot * size);
    }
  }
}

void Attention::attend(int32_t layer, const float* query, float* out) {
  if (!parts_.empty()) return attend_in_parts(layer, query, out);
  // The tiles of one KV head after another: their pages stay in the caches.
  const int32_t tiles = static_cast<int32_t>(tiles_.size());
  workers_.run(tiles * kv_heads_, work_, [&](int32_t chunk, int thread) {
    attend_tile(tiles_[chunk % tiles], layer, chunk / tiles, query, out, scratch_[thread]);
  });
}

void Attention::attend_tile(const Tile& tile, int32_t layer, int32_t kv_head, const float* query,
                            float* out, Scratch& scratch) const {
  scratch.part.reserve(softmax_floats(tile));
  scratch.total.reserve(softmax_floats(tile));
  const Softmax part = softmax_at(tile, scratch.part.data());
  const Softmax total = softmax_at(tile, scratch.total.data());
  load_queries(tile, kv_head, query, scratch);
  clear(tile, total);
  for (int32_t page = tile.first_page; page <= tile.last_page;) {
    const int32_t last = std::min(tile.last_page, page | (kSpanPages - 1));
    attend_part(tile, page, last, layer, kv_head, part, scratch);
    merge(tile, part, total);
    page = last + 1;
  }
  write(tile, kv_head, total, out);
}

// The same operations as attend_tile() in the same order; the parts by different threads.
void Attention::attend_in_parts(int32_t layer, const float* query, float* out) {
  const auto softmax = [&](const Part& part, int32_t kv_head) {
    const Tile& tile = tiles_[part.tile];
    return softmax_at(tile, parts_memory_.data() + part.softmax +
                                softmax_floats(tile) * static_cast<size_t>(kv_head));
  };
  workers_.run(static_cast<int32_t>(parts_.size()) * kv_heads_, work_,
               [&](int32_t chunk, int thread) {
                 const Part& part = parts_[chunk / kv_heads_];
                 const Tile& tile = tiles_[part.tile];
                 const int32_t kv_head = chunk % kv_heads_;
                 load_queries(tile, kv_head, query, scratch_[thread]);
                 attend_part(tile, part.first_page, part.last_page, layer, kv_head,
                             softmax(part, kv_head), scratch_[thread]);
               });
  const double merge_work = static_cast<double>(parts_.size()) * kv_heads_ * group_ * head_size_;
  workers_.run(kv_heads_, merge_work, [&](int32_t kv_head, int thread) {
    for (size_t i = 0; i < parts_.size();) {
      const int32_t tile_index = parts_[i].tile;
      const Tile& tile = tiles_[tile_index];
      Scratch& scratch = scratch_[thread];
      scratch.total.reserve(softmax_floats(tile));
      const Softmax total = softmax_at(tile, scratch.total.data());
      clear(tile, total);
      for (; i < parts_.size() && parts_[i].tile == tile_index; ++i) {
        merge(tile, softmax(parts_[i], kv_head), total);
      }
      write(tile, kv_head, total, out);
    }
  });
}

void Attention::clear(const Tile& tile, const Softmax& softmax) const {
  const size_t count = static_cast<size_t>(queries(tile));
  std::fill_n(softmax.maximum, count, -std::numeric_limits<float>::infinity());
  std::fill_n(softmax.sum, count, 0.0f);
  std::fill_n(softmax.out, count * static_cast<size_t>(head_size_), 0.0f);
}

// The queries of the tile's rows that share a KV head, divided by the root of head_size.
void Attention::load_queries(const Tile& tile, int32_t kv_head, const float* query,
                             Scratch& scratch) const {
  const int64_t width = static_cast<int64_t>(group_) * head_size_;
  const float scale = 1 / std::sqrt(static_cast<float>(head_size_));
  scratch.queries.reserve(static_cast<size_t>(tile.rows * width));
  float* to = scratch.queries.data();
  for (int32_t row = 0; row < tile.rows; ++row) {
    const float* from =
        query + ((tile.first_row + row) * static_cast<int64_t>(kv_heads_) + kv_head) * width;
    for (int64_t i = 0; i < width; ++i) *to++ = from[i] * scale;
  }
}

void Attention::attend_part(const Tile& tile, int32_t first_page, int32_t last_page, int32_t layer,
                            int32_t kv_head, const Softmax& softmax, Scratch& scratch) const {
  clear(tile, softmax);
  const int32_t count = queries(tile);
  const int32_t block = kPageTokens * head_size_;
  scratch.scores.reserve(static_cast<size_t>(count) * kPageTokens);
  scratch.rescale.reserve(static_cast<size_t>(count));
  float* scores = scratch.scores.data();
  const auto page_id = [&](int32_t page) {
    return page_ids_[tile.page_ids + static_cast<size_t>(page - tile.first_page)];
  };

  for (int32_t page = first_page; page <= last_page; ++page) {
    const int32_t id = page_id(page);
    const void* keys = pages_.keys(id, layer, kv_head);
    const void* values = pages_.values(id, layer, kv_head);
    const void* after_keys = values;
    const void* after_values =
        page < last_page ? pages_.keys(page_id(page + 1), layer, kv_head) : values;
    KvType type = pages_.type();
    if (type == KvType::kF16 && count >= kConvertQueries) {
      scratch.keys.reserve(static_cast<size_t>(block));
      scratch.values.reserve(static_cast<size_t>(block));
      kernels_.from_f16(static_cast<const uint16_t*>(keys), block, scratch.keys.data());
      kernels_.from_f16(static_cast<const uint16_t*>(values), block, scratch.values.data());
      // What asks for itself asks for nothing: many queries take long, and leave no room in L1.
      keys = after_keys = scratch.keys.data();
      values = after_values = scratch.values.data();
      type = KvType::kF32;
    }
    kernels_.attention_scores(scratch.queries.data(), count, head_size_, keys, after_keys, type,
                              scores);

    // Which of the page's tokens row `row` sees: [first, last). No others are touched: what lies
    // there may be of a later row or of the page's former owner.
    const auto visible = [&](int32_t row) {
      const int32_t position = places_[tile.first_row + row].position;
      const int32_t start = page * kPageTokens;
      return std::pair(std::clamp(first_visible(position) - start, 0, kPageTokens),
                       std::clamp(position - start + 1, 0, kPageTokens));
    };
    for (int32_t row = 0, end; row < tile.rows; row = end) {
      const auto tokens = visible(row);
      for (end = row + 1; end < tile.rows && visible(end) == tokens;) ++end;
      const auto [first, last] = tokens;
      if (first >= last) continue;
      const int32_t query = row * group_, some = (end - row) * group_;
      float* row_scores = scores + query * kPageTokens;
      float* rescale = scratch.rescale.data();
      kernels_.attention_softmax(row_scores, some, first, last, softmax.maximum + query,
                                 softmax.sum + query, rescale);
      kernels_.attention_values(row_scores, some, first, last, values, after_values, type,
                                head_size_, rescale,
                                softmax.out + static_cast<int64_t>(query) * head_size_);
    }
  }
}

void Attention::merge(const Tile& tile, const Softmax& part, const Softmax& total) const {
  for (int32_t q = 0; q < queries(tile); ++q) {
    if (part.sum[q] == 0) continue;  // The row sees nothing of this part.
    const float maximum = std::max(total.maximum[q], part.maximum[q]);
    const float old_scale = portable::exp(total.maximum[q] - maximum);
    const float new_scale = portable::exp(part.maximum[q] - maximum);
    total.maximum[q] = maximum;
    total.sum[q] = total.sum[q] * old_scale + part.sum[q] * new_scale;
    const float* from = part.out + static_cast<int64_t>(q) * head_size_;
    float* to = total.out + static_cast<int64_t>(q) * head_size_;
    for (int32_t i = 0; i < head_size_; ++i) to[i] = to[i] * old_scale + from[i] * new_scale;
  }
}

void Attention::write(const Tile& tile, int32_t kv_head, const Softmax& total, float* out) const {
  for (int32_t q = 0; q < queries(tile); ++q) {
    const int64_t row = tile.first_row + q / group_;
    const int64_t head = static_cast<int64_t>(kv_head) * group_ + q % group_;
    const float* from = total.out + static_cast<int64_t>(q) * head_size_;
    float* to = out + (row * kv_heads_ * group_ + head) * head_size_;
    const float scale = 1 / total.sum[q];
    for (int32_t i = 0; i < head_size_; ++i) to[i] = from[i] * scale;
  }
}

}  // namespace tramontane::cpu
