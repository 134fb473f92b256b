// Random weights of every format for the tests of kernels, decoded by the oracle.
#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/half.h"
#include "half_offsets.h"
#include "quant/gptq.h"

namespace tramontane::test {

struct TestFormat {
  Format format;
  int gptq_bits = 0;
  bool act_order = false;
  std::string name() const {
    return format == Format::kGptq
               ? "GPTQ-" + std::to_string(gptq_bits) + (act_order ? "-order" : "")
               : format_info(format).name;
  }
  // Fewest columns a weight may grow by.
  int granularity() const {
    const int values = format_info(format).block_values;
    return values > 32 ? values : 32;
  }
};

inline std::vector<TestFormat> float_formats() {
  return {{Format::kF32}, {Format::kF16}, {Format::kBF16}};
}

inline std::vector<TestFormat> quantized_formats() {
  std::vector<TestFormat> all;
  for (int i = static_cast<int>(Format::kQ4_0); i < static_cast<int>(Format::kGptq); ++i) {
    all.push_back({static_cast<Format>(i)});
  }
  all.push_back({Format::kGptq, 4});
  all.push_back({Format::kGptq, 4, true});
  all.push_back({Format::kGptq, 8});
  return all;
}

// A weight as a file has it, its scales multiplied by `size`. GPTQ has groups of 64.
class TestWeight {
 public:
  TestWeight(const TestFormat& format, int rows, int columns, unsigned seed, float size = 1) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> scale(0.02f * size, 0.1f * size);
    data_ = {format.format, rows, columns, nullptr};
    if (format.format == Format::kGptq) {
      make_gptq(format, random, scale);
      return;
    }
    const FormatInfo& info = format_info(format.format);
    const int64_t blocks = int64_t{rows} * columns / info.block_values;
    bytes_.resize(static_cast<size_t>(blocks * info.block_bytes));
    for (uint8_t& byte : bytes_) byte = static_cast<uint8_t>(random());
    for (int64_t b = 0; b < blocks; ++b) {
      uint8_t* block = bytes_.data() + b * info.block_bytes;
      const float value = scale(random) * (random() % 2 ? 1.0f : -1.0f);
      const uint32_t bits = bits_from_float(value);
      if (format.format == Format::kF32) std::memcpy(block, &bits, 4);
      if (format.format == Format::kBF16) put(block, static_cast<uint16_t>(bits >> 16));
      if (format.format == Format::kF16) put(block, f32_to_f16(value));
      if (info.block_values == 1) continue;
      for (const int at : half_offsets(format.format)) put(block + at, f32_to_f16(scale(random)));
    }
    data_.data = bytes_.data();
  }
  TestWeight(const TestWeight&) = delete;
  TestWeight& operator=(const TestWeight&) = delete;

  const WeightData& data() const { return data_; }
  int rows() const { return data_.rows; }
  int columns() const { return data_.columns; }

  // [rows][columns]
  std::vector<float> decoded() const {
    std::vector<float> values(static_cast<size_t>(data_.rows) * data_.columns);
    if (data_.format == Format::kGptq) {
      decode_gptq(data_, 0, data_.rows, values.data());
    } else {
      decode_blocks(data_.format, data_.data,
                    static_cast<int64_t>(values.size()) / format_info(data_.format).block_values,
                    values.data());
    }
    return values;
  }

 private:
  static void put(uint8_t* to, uint16_t bits) { std::memcpy(to, &bits, sizeof bits); }

  void make_gptq(const TestFormat& format, std::mt19937& random,
                 std::uniform_real_distribution<float>& scale) {
    constexpr int kGroupSize = 64;
    const int groups = (data_.columns + kGroupSize - 1) / kGroupSize;
    const auto words = [&](int64_t count) {
      std::vector<uint8_t> bytes(static_cast<size_t>(4 * count));
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      return bytes;
    };
    bytes_ = words(int64_t{data_.columns} * format.gptq_bits / 32 * data_.rows);
    zeros_ = words(int64_t{groups} * data_.rows * format.gptq_bits / 32);
    for (int i = 0; i < groups * data_.rows; ++i) {
      scales_.push_back(f32_to_f16(scale(random)));
    }
    for (int k = 0; k < data_.columns; ++k) order_.push_back(k / kGroupSize);
    if (format.act_order) std::shuffle(order_.begin(), order_.end(), random);
    data_.data = bytes_.data();
    data_.gptq = {format.gptq_bits,
                  kGroupSize,
                  1,
                  Format::kF16,
                  zeros_.data(),
                  reinterpret_cast<const uint8_t*>(scales_.data()),
                  format.act_order ? reinterpret_cast<const uint8_t*>(order_.data()) : nullptr};
  }

  WeightData data_{};
  std::vector<uint8_t> bytes_, zeros_;
  std::vector<uint16_t> scales_;
  std::vector<int32_t> order_;
};

}  // namespace tramontane::test
