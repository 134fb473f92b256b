// Products of float weights and float activations on any instruction set.
//
// A vector is eight floats. Lane l of an accumulator sums inputs l, l + 8, l + 16, ... by FMAs in
// ascending order, and the lanes are added in one fixed tree: the same bits for any tile of outputs
// and rows.
//
//   Load::kBytes, Load::load()   how eight weights become a vector
//   Load::Vector                 zero, load, store, multiply_add and sum of vectors
#pragma once

#include "cpu/gptq/gptq.h"
#include "cpu/linear/linear.h"
#include "quant/format.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// kOutputs outputs by kRows rows. `weights` and `in` are rows at a stride, in bytes and in floats.
template <class Load, int kOutputs, int kRows>
void dot_tile(const uint8_t* weights, int64_t stride, const float* in, int32_t columns,
              float out[kOutputs][kRows]) {
  using Vector = typename Load::Vector;
  using Floats = typename Vector::Floats;
  Floats sums[kOutputs][kRows];
  for (int o = 0; o < kOutputs; ++o) {
    for (int r = 0; r < kRows; ++r) sums[o][r] = Vector::zero();
  }
  const auto step = [&](auto load_weight, auto load_input) {
    Floats w[kOutputs];
    for (int o = 0; o < kOutputs; ++o) w[o] = load_weight(o);
    for (int r = 0; r < kRows; ++r) {
      const Floats x = load_input(r);
      for (int o = 0; o < kOutputs; ++o) sums[o][r] = Vector::multiply_add(w[o], x, sums[o][r]);
    }
  };
  int32_t column = 0;
  for (; column + 8 <= columns; column += 8) {
    step([&](int o) { return Load::load(weights + o * stride + column * Load::kBytes); },
         [&](int r) { return Vector::load(in + int64_t{r} * columns + column); });
  }
  if (const int32_t rest = columns - column; rest > 0) {
    step(
        [&](int o) {
          uint8_t padded[8 * Load::kBytes] = {};
          std::memcpy(padded, weights + o * stride + column * Load::kBytes, rest * Load::kBytes);
          return Load::load(padded);
        },
        [&](int r) {
          float padded[8] = {};
          std::memcpy(padded, in + int64_t{r} * columns + column, rest * sizeof(float));
          return Vector::load(padded);
        });
  }
  for (int o = 0; o < kOutputs; ++o) {
    for (int r = 0; r < kRows; ++r) out[o][r] = Vector::sum(sums[o][r]);
  }
}

// kOutputs outputs from `output` on, all rows.
template <class Load, int kOutputs>
void dot_rows(const LinearTask& task, int32_t output, const uint8_t* weights, int64_t stride) {
  const Activations& in = *task.in;
  const auto tile = [&]<int kRows>(std::integral_constant<int, kRows>, int32_t row) {
    float sums[kOutputs][kRows];
    dot_tile<Load, kOutputs, kRows>(weights, stride, in.values + int64_t{row} * in.columns,
                                    in.columns, sums);
    for (int r = 0; r < kRows; ++r) {
      float* out = task.out + (row + r) * task.stride + output;
      for (int o = 0; o < kOutputs; ++o) out[o] = task.add ? out[o] + sums[o][r] : sums[o][r];
    }
  };
  int32_t row = 0;
  for (; row + 2 <= in.rows; row += 2) tile(std::integral_constant<int, 2>(), row);
  if (row < in.rows) tile(std::integral_constant<int, 1>(), row);
}

template <class Load>
void decode_floats(const uint8_t* weights, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    Load::Vector::store(out + i, Load::load(weights + i * Load::kBytes));
  if (i == count) return;
  uint8_t padded[8 * Load::kBytes] = {};
  std::memcpy(padded, weights + i * Load::kBytes, (count - i) * Load::kBytes);
  float decoded[8];
  Load::Vector::store(decoded, Load::load(padded));
  std::copy_n(decoded, count - i, out + i);
}

// Weights that were decoded to floats.
template <class Vector_>
struct LoadDecoded {
  using Vector = Vector_;
  static constexpr int kBytes = 4;
  TRAMONTANE_INLINE static typename Vector::Floats load(const uint8_t* p) {
    return Vector::load(reinterpret_cast<const float*>(p));
  }
};

constexpr int kFloatOutputs = 4;

// Calls use(number of outputs, output): kFloatOutputs at a time, the last ones singly.
template <class Use>
void for_each_tile(const LinearTask& task, Use use) {
  int32_t output = task.first;
  for (; output + kFloatOutputs <= task.last; output += kFloatOutputs) {
    use(std::integral_constant<int, kFloatOutputs>(), output);
  }
  for (; output < task.last; ++output) use(std::integral_constant<int, 1>(), output);
}

// From this many rows on, 16-bit weights are decoded once for all of them.
constexpr int kDecodeRows = 3;

template <class Load>
void linear_float(const LinearTask& task) {
  const int32_t columns = task.weight->columns;
  const int64_t row_bytes = int64_t{columns} * Load::kBytes;
  const bool decode = Load::kBytes < 4 && task.in->rows >= kDecodeRows;
  const auto outputs = [&]<int kOutputs>(std::integral_constant<int, kOutputs>, int32_t output) {
    const uint8_t* weights = task.weight->data + output * row_bytes;
    if (!decode) return dot_rows<Load, kOutputs>(task, output, weights, row_bytes);
    decode_floats<Load>(weights, int64_t{kOutputs} * columns,
                        reinterpret_cast<float*>(task.scratch));
    dot_rows<LoadDecoded<typename Load::Vector>, kOutputs>(task, output, task.scratch,
                                                           int64_t{columns} * 4);
  };
  for_each_tile(task, outputs);
}

// Any format, decoded a few outputs at a time.
template <class Vector>
void linear_decoded(const LinearTask& task) {
  const WeightData& weight = *task.weight;
  float* decoded = reinterpret_cast<float*>(task.scratch);
  const auto outputs = [&]<int kOutputs>(std::integral_constant<int, kOutputs>, int32_t output) {
    if (weight.format == Format::kGptq) {
      decode_gptq(weight, output, output + kOutputs, decoded);
    } else {
      const FormatInfo& info = format_info(weight.format);
      const int64_t blocks = weight.columns / info.block_values;
      decode_blocks(weight.format, weight.data + output * blocks * info.block_bytes,
                    kOutputs * blocks, decoded);
    }
    dot_rows<LoadDecoded<Vector>, kOutputs>(task, output, task.scratch,
                                            int64_t{weight.columns} * 4);
  };
  for_each_tile(task, outputs);
}

inline size_t float_scratch_bytes(int32_t columns) {
  return static_cast<size_t>(kFloatOutputs) * columns * sizeof(float);
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
