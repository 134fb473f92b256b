// Many rows of activations: how AVX2, VNNI and NEON kernels go through weights and activations.
//
// Weights are unpacked into panels, activations are laid out in the order in which a tile reads
// them, and both stay where they are used again:
//
//   block    kBlockOutputs outputs, whose totals wait in scratch
//     pass     as many groups as keep the rows' activations in L2, laid out once for the block
//       tile's outputs     kStripes stripes
//         panel              kPanelGroups groups of them, unpacked once, in L1
//           tile               kTileRows rows: the kernel
#pragma once

#include "base/prefetch.h"
#include "cpu/linear/stripe.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr int kPanelGroups = 16;
constexpr int kBlockOutputs = 512;
constexpr int kPassBytes = 320 << 10;

// A group of kRows rows of activations as a tile reads them: one after another, or in pairs of rows
// that take turns of 8 integers. What the words are is the kernels' affair: those of a row depend
// on its sums.
template <int kRows, int kWords>
struct RowsOfGroup {
  int8_t q[kRows][32];
  float scales[kRows];
  int32_t words[kRows][kWords];
};

// All rows of some groups: [panel][tile][group of the panel] of RowsOfGroup.
template <int kWords>
class PackedRows {
 public:
  static constexpr size_t kGroupBytes = sizeof(RowsOfGroup<1, kWords>);  // Of a row.

  PackedRows(uint8_t* data, int32_t rows) : data_(data), rows_(rows) {}

  // Groups at once, of `groups`: whole panels.
  static int32_t pass_groups(int32_t groups, int32_t rows) {
    const int32_t fit = kPassBytes / static_cast<int>(kGroupBytes) / rows;
    return std::min(groups, std::max(fit / kPanelGroups, 1) * kPanelGroups);
  }

  // The rows of a tile from group `first` on, a multiple of kPanelGroups, to the end of its panel.
  template <int kRows>
  RowsOfGroup<kRows, kWords>* tile(int32_t first, int32_t depth, int32_t row) const {
    const int64_t before = int64_t{first} * rows_ + int64_t{row} * depth;
    return reinterpret_cast<RowsOfGroup<kRows, kWords>*>(data_ + before * int64_t{kGroupBytes});
  }

 private:
  uint8_t* data_;
  int32_t rows_;
};

// Rows go in tiles of kTileRows, the last ones in smaller tiles.
template <int kRows>
constexpr int kFewerRows = kRows > 8   ? 8
                           : kRows > 4 ? 4
                                       : kRows / 2;

// Calls use.template operator()<kRows>(row) for each tile.
template <int kRows, class Use>
void for_each_tile(int32_t row, int32_t rows, const Use& use) {
  for (; row + kRows <= rows; row += kRows) use(std::integral_constant<int, kRows>(), row);
  if constexpr (kRows > 1) {
    if (row < rows) for_each_tile<kFewerRows<kRows>>(row, rows, use);
  }
}

// Groups [first, first + count) of a tile's rows; the last row there is stands for those beyond it.
template <class Panel, int kRows>
void pack_tile(const Activations& in, int32_t row, int32_t first, int32_t count,
               RowsOfGroup<kRows, Panel::kWords>* out) {
  for (int r = 0; r < kRows; ++r) {
    const int32_t from = std::min(row + r, in.rows - 1);
    const int64_t group = int64_t{from} * (in.columns / 32) + first;
    const int8_t* q = in.q + from * quantized_stride(in.columns) + 32 * int64_t{first};
    for (int line = 0; line < 32 * kPanelGroups; line += 64) {
      prefetch(q + kRows * quantized_stride(in.columns) + line);
    }
    prefetch(in.scales + group + kRows * (in.columns / 32));
    prefetch(in.sums + 2 * (group + kRows * (in.columns / 32)));
    int32_t words[kPanelGroups * Panel::kWords];
    Panel::make_words(in.sums + 2 * group, count, words);
    for (int32_t g = 0; g < count; ++g) {
      if constexpr (Panel::kPairsRows && kRows > 1) {
        int8_t* pair = out[g].q[r / 2 * 2] + r % 2 * 8;
        for (int at = 0; at < 32; at += 8) std::memcpy(pair + 2 * at, q + 32 * g + at, 8);
      } else {
        std::memcpy(out[g].q[r], q + 32 * g, 32);
      }
      out[g].scales[r] = in.scales[group + g];
      std::memcpy(out[g].words[r], words + g * Panel::kWords, sizeof out[g].words[r]);
    }
  }
}

// Outputs that are multiplied together. Where fewer stripes are left, the last one is there several
// times, and stored once.
template <int kStripes>
struct OutputTile {
  Stripe stripes[kStripes];
  int count;
};

// The next outputs of a task; `output` moves behind them.
template <int kStripes, class Source>
OutputTile<kStripes> next_output_tile(const LinearTask& task, const Source& source,
                                      int32_t& output) {
  OutputTile<kStripes> tile = {};
  for (Stripe& stripe : tile.stripes) {
    if (output == task.last) {
      stripe = tile.stripes[tile.count - 1];
      continue;
    }
    stripe = source.stripe_at(output);
    output += stripe.count;
    ++tile.count;
  }
  return tile;
}

// Where things are in a task's scratch.
template <class Panel>
struct PanelScratch {
  static constexpr size_t kPanelBytes =
      sizeof(typename Panel::Vector) * kPanelGroups * Panel::kVectors * Panel::kStripes;

  static size_t rows_bytes(int32_t rows) {
    const size_t least = kPanelGroups * PackedRows<Panel::kWords>::kGroupBytes;
    return std::max(size_t{kPassBytes}, (least * static_cast<size_t>(rows) + 63) / 64 * 64);
  }

  static size_t bytes(int32_t rows) {
    return kPanelBytes + rows_bytes(rows) +
           static_cast<size_t>(rows) * kBlockOutputs * sizeof(float);
  }
};

template <class Panel, class Source>
void many_rows(const LinearTask& task, const Source& source) {
  constexpr int kStripes = Panel::kStripes, kOutputs = kStripes * Panel::kWidth;
  constexpr int kTiles = kBlockOutputs / kOutputs;
  using Scratch = PanelScratch<Panel>;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  const int32_t pass = PackedRows<Panel::kWords>::pass_groups(groups, in.rows);
  auto* panel = reinterpret_cast<typename Panel::Vector*>(task.scratch);
  const PackedRows<Panel::kWords> packed(task.scratch + Scratch::kPanelBytes, in.rows);
  float* totals =
      reinterpret_cast<float*>(task.scratch + Scratch::kPanelBytes + Scratch::rows_bytes(in.rows));
  bool is_packed = false;
  for (int32_t output = task.first; output < task.last;) {
    OutputTile<kStripes> tiles[kTiles];
    int count = 0;
    while (count < kTiles && output < task.last) {
      tiles[count++] = next_output_tile<kStripes>(task, source, output);
    }
    // [tile][row][output]
    const int64_t tile_floats = int64_t{in.rows} * kOutputs;
    std::fill_n(totals, count * tile_floats, 0.0f);
    for (int32_t start = 0; start < groups; start += pass) {
      const int32_t end = std::min(start + pass, groups);
      const auto depth_at = [&](int32_t first) { return std::min(kPanelGroups, end - first); };
      for (int32_t first = start; first < end && !is_packed; first += kPanelGroups) {
        for_each_tile<Panel::kTileRows>(0, in.rows, [&](auto rows, int32_t row) {
          const int32_t depth = depth_at(first);
          pack_tile<Panel, rows()>(in, row, first, depth,
                                   packed.template tile<rows()>(first - start, depth, row));
        });
      }
      is_packed = pass == groups;
      for (int t = 0; t < count; ++t) {
        for (int32_t first = start; first < end; first += kPanelGroups) {
          const int32_t depth = depth_at(first);
          for (int p = 0; p < kStripes; ++p) {
            Panel::pack(source, tiles[t].stripes[p], p, first, depth, panel);
          }
          // While rows are multiplied, the weights that come next are on their way.
          const bool more = first + depth < end;
          for (const Stripe& stripe : tiles[std::min(more ? t : t + 1, count - 1)].stripes) {
            source.prefetch_groups(stripe, more ? first + depth : start);
          }
          for_each_tile<Panel::kTileRows>(0, in.rows, [&](auto rows, int32_t row) {
            Panel::multiply(panel, depth, packed.template tile<rows()>(first - start, depth, row),
                            totals + t * tile_floats + row * kOutputs);
          });
        }
      }
    }
    for (int32_t r = 0; r < in.rows; ++r) {
      for (int t = 0; t < count; ++t) {
        for (int p = 0; p < tiles[t].count; ++p) {
          store(task, r, tiles[t].stripes[p],
                totals + t * tile_floats + r * kOutputs + Panel::kWidth * p);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
