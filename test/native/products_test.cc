// Products of f32 matrices, and with weights, on every implementation this processor can run.
#include "cpu/products/products.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "base/half.h"
#include "cpu/backend/implementation.h"
#include "cpu/products/weight_tile.h"
#include "half_offsets.h"
#include "test.h"

using namespace tramontane;
using namespace tramontane::cpu;

namespace {

std::vector<float> random_values(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

template <typename Test>
void for_each_implementation(Test test) {
  for (const Implementation& implementation : implementations()) {
    if (implementation.supported()) test(*implementation.tiles);
  }
}

// Sizes around tiles, and beyond what is packed at a time.
constexpr ProductSize kSizes[] = {{1, 1, 1},    {3, 33, 7},    {8, 32, 256},  {9, 31, 257},
                                  {16, 300, 5}, {65, 257, 70}, {5, 513, 600}, {130, 40, 300}};

struct Matrix {
  Matrix(int32_t rows, int32_t columns, uint32_t seed)
      : width(columns + 3), values(random_values(int64_t{rows} * width, seed)) {}
  double at(int32_t i, int32_t j) const { return values[static_cast<size_t>(i * width + j)]; }
  MatrixView view() const { return rows_of(values.data(), width); }

  int64_t width;
  std::vector<float> values;
};

// A weight of a format in blocks, whose scales are small numbers.
struct Blocks {
  Blocks(Format format, int32_t rows, int32_t columns) {
    const FormatInfo& info = format_info(format);
    const size_t blocks = size_t(rows) * columns / info.block_values;
    bytes.resize(blocks * info.block_bytes);
    std::mt19937 random(11);
    if (is_float(format)) {
      const std::vector<float> values = random_values(int64_t{rows} * columns, 12);
      for (size_t i = 0; i < values.size(); ++i) {
        const uint32_t bits = bits_from_float(values[i]);
        const uint16_t half = format == Format::kF16 ? f32_to_f16(values[i]) : uint16_t(bits >> 16);
        if (format == Format::kF32)
          std::memcpy(&bytes[4 * i], &bits, 4);
        else
          std::memcpy(&bytes[2 * i], &half, 2);
      }
    } else {
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      for (size_t block = 0; block < blocks; ++block) {
        for (const int offset : test::half_offsets(format)) {
          const uint16_t half = f32_to_f16(static_cast<float>(random() % 100 + 1) / 4096);
          std::memcpy(&bytes[block * info.block_bytes + offset], &half, 2);
        }
        if (format == Format::kQ8_1) std::memset(&bytes[block * info.block_bytes + 2], 0, 2);
      }
    }
    weight = {format, rows, columns, bytes.data()};
    decoded.resize(size_t(rows) * columns);
    decode_blocks(format, bytes.data(), static_cast<int64_t>(blocks), decoded.data());
  }

  std::vector<uint8_t> bytes;
  std::vector<float> decoded;  // [rows][columns]
  WeightData weight;
};

constexpr float kUntouched = 1.5;

// Products of `size` with every view of a and b, against double precision.
template <typename Multiply>
void check_products(Multiply multiply) {
  for (const ProductSize& size : kSizes) {
    const auto [rows, columns, depth] = size;
    const Matrix a(rows, depth, 1), a_transposed(depth, rows, 2), b(depth, columns, 3),
        b_transposed(columns, depth, 4);
    for (const bool add : {false, true}) {
      for (int kind = 0; kind < 4; ++kind) {
        const bool turn_a = kind % 2 == 1, turn_b = kind >= 2;
        const int64_t stride = columns + 2;
        std::vector<float> out(static_cast<size_t>(rows * stride), kUntouched);
        multiply(turn_a ? a_transposed.view().transposed() : a.view(),
                 turn_b ? b_transposed.view().transposed() : b.view(), size,
                 ProductOut{out.data(), stride, add});
        for (int32_t i = 0; i < rows; ++i) {
          for (int32_t j = 0; j < columns; ++j) {
            double sum = add ? kUntouched : 0, magnitude = add ? kUntouched : 0;
            for (int32_t k = 0; k < depth; ++k) {
              const double one = (turn_a ? a_transposed.at(k, i) : a.at(i, k)) *
                                 (turn_b ? b_transposed.at(j, k) : b.at(k, j));
              sum += one;
              magnitude += std::fabs(one);
            }
            CHECK_NEAR(out[static_cast<size_t>(i * stride + j)], sum, 1e-6 * magnitude + 1e-6);
          }
          for (int64_t j = columns; j < stride; ++j) {
            CHECK_EQ(out[static_cast<size_t>(i * stride + j)], kUntouched);
          }
        }
      }
    }
  }
}

}  // namespace

TEST("products equal their definition, whichever way matrices lie and whatever their size") {
  for_each_implementation([](const TileKernels& kernels) {
    const Workers workers(2);
    Products products(kernels, workers);
    check_products([&](auto... all) { products.multiply(all...); });
    ThreadProducts alone(kernels);
    check_products([&](auto... all) { alone.multiply(all...); });
  });
}

TEST("a product has the same bits on one thread, two and three, and row by row") {
  for_each_implementation([](const TileKernels& kernels) {
    const ProductSize size{70, 700, 600};
    const Matrix a(size.rows, size.depth, 5), b(size.depth, size.columns, 6);
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      const Workers workers(threads);
      Products products(kernels, workers);
      std::vector<float> out(size_t(size.rows) * size.columns);
      products.multiply(a.view(), b.view(), size, {out.data(), size.columns});
      if (first.empty()) first = out;
      CHECK(std::memcmp(first.data(), out.data(), out.size() * sizeof(float)) == 0);
    }
    ThreadProducts alone(kernels);
    std::vector<float> row(static_cast<size_t>(size.columns));
    for (int32_t i = 0; i < size.rows; ++i) {
      alone.multiply(rows_of(a.values.data() + i * a.width, a.width), b.view(),
                     {1, size.columns, size.depth}, {row.data(), size.columns});
      CHECK(std::memcmp(&first[size_t(i) * size.columns], row.data(), row.size() * sizeof(float)) ==
            0);
    }
  });
}

TEST("products with weights of every format equal those with the decoded weights") {
  const int32_t outputs = 300, inputs = 512, n = 5;
  const std::vector<float> in = random_values(int64_t{n} * inputs, 7),
                           d_out = random_values(int64_t{n} * outputs, 8);
  for (int f = 0; f < kFormatCount; ++f) {
    const Format format = static_cast<Format>(f);
    if (format == Format::kGptq) continue;
    const Blocks blocks(format, outputs, inputs);
    for_each_implementation([&](const TileKernels& kernels) {
      const Workers workers(2);
      Products products(kernels, workers);
      std::vector<float> out(size_t(n) * outputs), expected(out.size()), d_in(in.size()),
          d_expected(in.size());
      products.forward(in.data(), n, blocks.weight, out.data(), false);
      products.multiply(rows_of(in.data(), inputs),
                        rows_of(blocks.decoded.data(), inputs).transposed(), {n, outputs, inputs},
                        {expected.data(), outputs});
      CHECK(out == expected);
      products.backward(d_out.data(), n, blocks.weight, d_in.data(), false);
      products.multiply(rows_of(d_out.data(), outputs), rows_of(blocks.decoded.data(), inputs),
                        {n, inputs, outputs}, {d_expected.data(), inputs});
      CHECK(d_in == d_expected);
    });
  }
}
