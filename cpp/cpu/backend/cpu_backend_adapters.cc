#include "cpu/backend/cpu_backend_adapters.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/gptq.h"

namespace tramontane::cpu {
namespace {

// Rows, ranks and outputs of a piece of work: a step of one row has pieces for some threads, and
// one of many rows finds its weights in the cache.
constexpr int32_t kPieceRows = 32, kPieceRanks = 8, kPieceOutputs = 1024;
// Weights that are used once come from memory: what that takes, in multiply-adds.
constexpr double kReadWork = 4;
// Weights decoded at a time where rows are measured.
constexpr int32_t kMeasuredRows = 32;

// Rows [first, last) of any weight.
void decode_rows(const WeightData& weight, int32_t first, int32_t last, float* out) {
  if (weight.format == Format::kGptq) return decode_gptq(weight, first, last, out);
  const FormatInfo& info = format_info(weight.format);
  const int64_t blocks = weight.columns / info.block_values;
  decode_blocks(weight.format, weight.data + first * blocks * info.block_bytes,
                (last - first) * blocks, out);
}

// In eight sums, which the compiler keeps in vectors.
double dot(const float* a, const float* b, int32_t n) {
  double sums[8] = {};
  int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int lane = 0; lane < 8; ++lane) {
      sums[lane] += double{a[i + lane]} * double{b[i + lane]};
    }
  }
  for (; i < n; ++i) sums[0] += double{a[i]} * double{b[i]};
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

// What a thread measures with.
struct Measuring {
  AlignedBuffer<float> rows;
  AlignedBuffer<uint8_t> scratch;
};

}  // namespace

Adapters::Adapters(const LinearKernels& kernels, const ModelShape& shape, const Workers& workers)
    : kernels_(kernels),
      shape_(shape),
      workers_(workers),
      scratch_(static_cast<size_t>(workers.threads())) {}

void Adapters::load(int32_t adapter, const AdapterPair* pairs, int32_t count,
                    const Weights& weights) {
  check_adapter(adapter, pairs, count, shape_);
  auto made = std::make_shared<Adapter>();
  for (int32_t i = 0; i < count; ++i) {
    const AdapterPair& data = pairs[i];
    Pair& pair = made->try_emplace({data.role, data.layer}, Pair{data, {}}).first->second;
    if (data.magnitude != nullptr) measure(pair, weights.matrix(data.role, data.layer).data);
  }
  const std::lock_guard lock(mutex_);
  require(loaded_.emplace(adapter, std::move(made)).second, "the adapter is loaded already");
}

void Adapters::unload(int32_t adapter) {
  const std::lock_guard lock(mutex_);
  loaded_.erase(adapter);
}

// Of weight row w and up row u: |w|^2, u . (down w), and |u down|^2 by the products of the rows of
// down with each other.
void Adapters::measure(Pair& pair, const WeightData& weight) const {
  const WeightData &down = pair.data.down, &up = pair.data.up;
  const int32_t rank = down.rows, columns = down.columns;
  const size_t width = static_cast<size_t>(columns), ranks = static_cast<size_t>(rank);
  std::vector<float> downs(ranks * width), ups(static_cast<size_t>(up.rows) * ranks);
  decode_rows(down, 0, rank, downs.data());
  decode_rows(up, 0, up.rows, ups.data());
  std::vector<double> products(ranks * ranks);
  for (size_t i = 0; i < ranks; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      products[i * ranks + j] = products[j * ranks + i] =
          dot(&downs[i * width], &downs[j * width], columns);
    }
  }
  pair.squares.resize(static_cast<size_t>(up.rows));
  std::vector<float> mixed(ranks * static_cast<size_t>(up.rows));  // [rank][rows] down * weight^T
  const Activations in{rank, columns, downs.data(), nullptr, nullptr, nullptr};
  const int32_t pieces = (up.rows + kMeasuredRows - 1) / kMeasuredRows;
  std::vector<Measuring> measuring(static_cast<size_t>(workers_.threads()));
  workers_.run(pieces, (rank + kReadWork) * up.rows * columns, [&](int32_t piece, int thread) {
    auto& [rows, scratch] = measuring[static_cast<size_t>(thread)];
    const int32_t first = piece * kMeasuredRows, last = std::min(first + kMeasuredRows, up.rows);
    rows.reserve(kMeasuredRows * width);
    decode_rows(weight, first, last, rows.data());
    scratch.reserve(kernels_.scratch_bytes(columns, rank));
    LinearTask task{&weight, &in, first, last, mixed.data(), up.rows, false, scratch.data()};
    kernels_.linear_f32(task);
    for (int32_t row = first; row < last; ++row) {
      const float* w = rows.data() + static_cast<size_t>(row - first) * width;
      const float* u = &ups[static_cast<size_t>(row) * ranks];
      Pair::Squares squares{dot(w, w, columns), 0, 0};
      for (size_t i = 0; i < ranks; ++i) {
        const size_t place = i * static_cast<size_t>(up.rows) + static_cast<size_t>(row);
        squares.mixed += double{u[i]} * double{mixed[place]};
        for (size_t j = 0; j < ranks; ++j) {
          squares.pair += double{u[i]} * products[i * ranks + j] * double{u[j]};
        }
      }
      pair.squares[static_cast<size_t>(row)] = squares;
    }
  });
}

void Adapters::begin_step(const Step& step) {
  groups_.clear();
  scales_.resize(static_cast<size_t>(step.rows));
  int32_t last = 0;
  for (int32_t i = 0; i < step.sequence_count; ++i) {
    const SequenceSlice& slice = step.sequences[i];
    std::fill_n(scales_.begin() + slice.first_row, slice.rows, slice.adapter_scale);
    const bool goes_on = slice.adapter == last;
    last = slice.adapter;
    if (slice.adapter == 0) continue;
    if (goes_on) {
      groups_.back().rows += slice.rows;
      continue;
    }
    const std::lock_guard lock(mutex_);
    const auto found = loaded_.find(slice.adapter);
    require(found != loaded_.end(), "an adapter is not loaded");
    groups_.push_back({found->second, slice.first_row, slice.rows});
  }
}

const Adapters::Pair* Adapters::find(const Group& group, Role role, int32_t layer) {
  const auto found = group.adapter->find({role, layer});
  return found == group.adapter->end() ? nullptr : &found->second;
}

void Adapters::set_aside(const AdaptedOutput& output, int32_t layer) {
  const int64_t width = shape_of(output.role, shape_).rows;
  is_set_aside_ = true;
  for (const Group& group : groups_) {
    const Pair* pair = find(group, output.role, layer);
    if (pair == nullptr || pair->squares.empty()) continue;
    set_aside_.reserve(scales_.size() * static_cast<size_t>(width));
    const int64_t first = group.first_row * width, count = group.rows * width;
    std::copy_n(output.out + first, count, set_aside_.data() + first);
    std::fill_n(output.out + first, count, 0.0f);
  }
}

// in * down^T of all rows, then its product with up^T: outputs of both are split among threads, and
// many rows as well. What a row gives does not depend on the rows beside it.
void Adapters::apply(const AdaptedOutput* outputs, int32_t count, int32_t layer, const float* in) {
  reducing_.clear();
  expanding_.clear();
  size_t reduced = 0;
  for (const Group& group : groups_) {
    for (int32_t i = 0; i < count; ++i) {
      const Pair* pair = find(group, outputs[i].role, layer);
      if (pair == nullptr) continue;
      Piece piece{pair, reduced, outputs[i].out, 0, 0, 0, 0};
      const int32_t end = group.first_row + group.rows;
      for (int32_t row = group.first_row; row < end; row += kPieceRows) {
        piece.first_row = row;
        piece.rows = std::min(kPieceRows, end - row);
        piece.reduced = reduced;
        split(piece, pair->data.down.rows, kPieceRanks, &reducing_);
        split(piece, pair->data.up.rows, kPieceOutputs, &expanding_);
        reduced += static_cast<size_t>(piece.rows) * static_cast<size_t>(pair->data.down.rows);
      }
    }
  }
  reduced_.reserve(reduced);
  run(reducing_, [&](const Piece& piece, Scratch& scratch) { reduce(piece, in, scratch); });
  run(expanding_, [&](const Piece& piece, Scratch& scratch) { expand(piece, scratch); });
  is_set_aside_ = false;
}

// Pieces of at most so many outputs.
void Adapters::split(Piece piece, int32_t outputs, int32_t most, std::vector<Piece>* pieces) {
  for (piece.first = 0; piece.first < outputs; piece.first = piece.last) {
    piece.last = std::min(piece.first + most, outputs);
    pieces->push_back(piece);
  }
}

template <typename Function>
void Adapters::run(const std::vector<Piece>& pieces, Function&& function) {
  double work = 0;
  for (const Piece& piece : pieces) {
    const int32_t rank = piece.pair->data.down.rows;
    const int32_t columns = &pieces == &reducing_ ? piece.pair->data.down.columns : rank;
    work += (piece.rows + kReadWork) * (piece.last - piece.first) * columns;
  }
  workers_.run(static_cast<int32_t>(pieces.size()), work, [&](int32_t i, int thread) {
    function(pieces[static_cast<size_t>(i)], scratch_[static_cast<size_t>(thread)]);
  });
}

// Some ranks of reduced [rows][rank] = s * in * down^T.
void Adapters::reduce(const Piece& piece, const float* in, Scratch& scratch) {
  const auto& [role, layer, down, up, scale, magnitude] = piece.pair->data;
  const Activations activations{
      piece.rows, down.columns, in + int64_t{piece.first_row} * down.columns,
      nullptr,    nullptr,      nullptr};
  float* reduced = reduced_.data() + piece.reduced;
  scratch.kernel.reserve(kernels_.scratch_bytes(down.columns, piece.rows));
  kernels_.linear({&down, &activations, piece.first, piece.last, reduced, down.rows, false,
                   scratch.kernel.data()});
  const float* scales = scales_.data() + piece.first_row;
  for (int32_t row = 0; row < piece.rows; ++row) {
    const float s = scales[row] * scale;
    float* values = reduced + int64_t{row} * down.rows;
    for (int32_t i = piece.first; i < piece.last; ++i) values[i] *= s;
  }
}

// Some outputs of out [rows][outputs] += reduced * up^T.
void Adapters::expand(const Piece& piece, Scratch& scratch) {
  const WeightData& up = piece.pair->data.up;
  const Activations activations{piece.rows, up.columns, reduced_.data() + piece.reduced,
                                nullptr,    nullptr,    nullptr};
  float* out = piece.out + int64_t{piece.first_row} * up.rows;
  scratch.kernel.reserve(kernels_.scratch_bytes(up.columns, piece.rows));
  kernels_.linear(
      {&up, &activations, piece.first, piece.last, out, up.rows, true, scratch.kernel.data()});
  if (piece.pair->data.magnitude != nullptr) scale_outputs(piece, scratch.factors);
}

// Brings what weight and pair gave to the length of the magnitudes, and what was set aside back.
void Adapters::scale_outputs(const Piece& piece, std::vector<float>& factors) {
  const Pair& pair = *piece.pair;
  const int64_t outputs = pair.data.up.rows;
  factors.resize(static_cast<size_t>(piece.last - piece.first));
  float known = std::numeric_limits<float>::quiet_NaN();  // The scale that `factors` are of.
  for (int64_t row = piece.first_row; row < piece.first_row + piece.rows; ++row) {
    const float scale = scales_[static_cast<size_t>(row)];
    const double s = double{scale * pair.data.scale};
    for (int32_t i = piece.first; scale != known && i < piece.last; ++i) {
      const auto& [weight, mixed, own] = pair.squares[static_cast<size_t>(i)];
      const double square = weight + 2 * s * mixed + s * s * own;
      factors[static_cast<size_t>(i - piece.first)] =
          static_cast<float>(square > 0 ? double{pair.data.magnitude[i]} / std::sqrt(square) : 0);
    }
    known = scale;
    float* out = piece.out + row * outputs;
    const float* aside = set_aside_.data() + row * outputs;
    for (int32_t i = piece.first; i < piece.last; ++i) {
      out[i] *= factors[static_cast<size_t>(i - piece.first)];
      if (is_set_aside_) out[i] += aside[i];
    }
  }
}

}  // namespace tramontane::cpu
