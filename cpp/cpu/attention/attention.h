// Causal attention with grouped queries and an optional sliding window over paged keys and values.
//
// A row's keys are reduced in the order of their positions, by pages that begin at multiples of
// kPageTokens and by spans that begin at multiples of kSpanPages pages: an online softmax runs
// over the pages of a span, and the spans' results are merged in order. This order depends on the
// row's position and the window alone, so its bits are the same however a prompt is chunked, a
// batch composed, or the work split: short steps of long sequences give spans to several threads.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "base/aligned_buffer.h"
#include "cpu/attention/pages.h"
#include "cpu/backend/workers.h"
#include "cpu/rows/rows.h"

namespace tramontane::cpu {

class Attention {
 public:
  // `options` were checked: heads are a multiple of kv_heads, head_size of 8. Throws
  // std::bad_alloc.
  Attention(const BackendOptions& options, const RowKernels& kernels, const Workers& workers);

  // Copies the sequences of a step that was checked. Throws std::bad_alloc.
  void begin_step(const Step& step);

  // Between steps: forgets what a page holds. Throws StatusError when there is no such page.
  void discard(int32_t page);

  int32_t position(int32_t row) const { return places_[row].position; }

  // Stores a row's keys (rotated) and values, [kv_heads][head_size] each. Threads may store
  // different rows at the same time.
  void store(int32_t layer, int32_t row, const float* keys, const float* values) const;

  // All rows of the step, once all are stored. Queries (rotated) and out are
  // [rows][heads][head_size].
  void attend(int32_t layer, const float* queries, float* out);

 private:
  static constexpr int kSpanPages = 16;

  struct Place {
    int32_t position, page;
  };
  // Neighbouring rows of a sequence, computed together. Page numbers count from position 0.
  struct Tile {
    int32_t first_row, rows;
    int32_t first_page, last_page;  // All that its rows see, inclusive.
    size_t page_ids;                // The page numbered first_page is page_ids_[page_ids].
  };
  // A part of a tile's pages that lies in one span.
  struct Part {
    int32_t tile;
    int32_t first_page, last_page;  // Inclusive.
    size_t softmax;                 // Where its results lie in parts_memory_.
  };
  // The softmax over some keys, for the queries of a tile and KV head.
  struct Softmax {
    float* maximum;  // [queries]
    float* sum;      // [queries]
    float* out;      // [queries][head_size], not yet divided by sum.
  };
  struct Scratch {
    AlignedBuffer<float> queries, scores, rescale, keys, values, part, total;
  };

  void add_sequence(const SequenceSlice& slice);
  void plan_parts();
  int32_t first_visible(int32_t position) const;
  int32_t queries(const Tile& tile) const { return tile.rows * group_; }
  size_t softmax_floats(const Tile& tile) const {
    return static_cast<size_t>(queries(tile)) * static_cast<size_t>(head_size_ + 2);
  }
  Softmax softmax_at(const Tile& tile, float* memory) const {
    return {memory, memory + queries(tile), memory + 2 * queries(tile)};
  }
  void clear(const Tile& tile, const Softmax& softmax) const;

  void attend_tile(const Tile& tile, int32_t layer, int32_t kv_head, const float* query, float* out,
                   Scratch& scratch) const;
  void attend_part(const Tile& tile, int32_t first_page, int32_t last_page, int32_t layer,
                   int32_t kv_head, const Softmax& softmax, Scratch& scratch) const;
  void attend_in_parts(int32_t layer, const float* query, float* out);
  void load_queries(const Tile& tile, int32_t kv_head, const float* query, Scratch& scratch) const;
  void merge(const Tile& tile, const Softmax& part, const Softmax& total) const;
  void write(const Tile& tile, int32_t kv_head, const Softmax& total, float* out) const;

  const RowKernels& kernels_;
  const Workers& workers_;
  const int32_t kv_heads_, group_, head_size_, window_, tile_rows_;
  AttentionPages pages_;

  // Of the step at hand.
  std::vector<Place> places_;  // Of the rows.
  std::vector<int32_t> page_ids_;
  std::vector<Tile> tiles_;
  std::vector<Part> parts_;  // Empty: tiles are not divided.
  AlignedBuffer<float> parts_memory_;
  double work_ = 0;  // Multiply-adds in a layer.

  std::vector<Scratch> scratch_;  // One a thread.
};

}  // namespace tramontane::cpu
