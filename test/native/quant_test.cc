#include <cstring>
#include <limits>
#include <random>

#include "base/half.h"
#include "quant/encode.h"
#include "quant/format.h"
#include "reference_blocks.h"
#include "test.h"

using namespace tramontane;

TEST("every quantized format decodes as gguf-py does, to the bit, at any address") {
  for (const ReferenceBlock& reference : kReferenceBlocks) {
    Format format;
    CHECK(find_format(reference.format, &format));
    const FormatInfo& info = format_info(format);
    CHECK_EQ(static_cast<size_t>(info.block_bytes), reference.bytes.size());
    CHECK_EQ(static_cast<size_t>(info.block_values), reference.bits.size());
    for (int shift = 0; shift < 4; ++shift) {
      std::vector<uint8_t> bytes(shift);  // Two blocks in a row, at an address that may be odd.
      for (int i = 0; i < 2; ++i) {
        bytes.insert(bytes.end(), reference.bytes.begin(), reference.bytes.end());
      }
      std::vector<float> decoded(2 * info.block_values, std::numeric_limits<float>::quiet_NaN());
      decode_blocks(format, bytes.data() + shift, 2, decoded.data());
      int different = 0;
      for (size_t i = 0; i < decoded.size(); ++i) {
        const uint32_t expected = reference.bits[i % reference.bits.size()];
        // gguf-py gives some zeros another sign.
        if (bits_from_float(decoded[i]) != expected && decoded[i] != float_from_bits(expected)) {
          ++different;
        }
      }
      if (different != 0) {
        test::fail(
            __FILE__, __LINE__,
            std::string(reference.format) + ": " + std::to_string(different) + " values differ");
      }
    }
  }
}

TEST("formats are found by their names in GGUF, and only those") {
  Format format;
  for (int i = 0; i < kFormatCount; ++i) {
    CHECK(find_format(format_info(static_cast<Format>(i)).name, &format));
    CHECK_EQ(static_cast<int>(format), i);
  }
  CHECK(!find_format("Q4", &format));
  CHECK(!find_format("", &format));
}

TEST("f16 becomes f32 exactly, and f32 the nearest f16, ties to even") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const int exponent = (half >> 10) & 31, mantissa = half & 1023;
    const float value = f16_to_f32(half);
    if (exponent == 31 && mantissa != 0) {
      CHECK(std::isnan(value));
      CHECK(std::isnan(f16_to_f32(f32_to_f16(value))));
      continue;
    }
    double expected = exponent == 0    ? std::ldexp(mantissa, -24)
                      : exponent == 31 ? INFINITY
                                       : std::ldexp(1024 + mantissa, exponent - 25);
    if (half & 0x8000) expected = -expected;
    CHECK_EQ(static_cast<double>(value), expected);
    CHECK_EQ(int{f32_to_f16(value)}, int{half});
    if (exponent == 31 || half == 0x7bff || half == 0xfbff) continue;
    // Halfway to the next f16 the even one is taken, beside it the nearer one.
    const float next = f16_to_f32(static_cast<uint16_t>(half + 1));
    const float middle = (value + next) / 2;
    CHECK_EQ(int{f32_to_f16(middle)}, half % 2 == 0 ? half : half + 1);
    CHECK_EQ(int{f32_to_f16(std::nextafter(middle, value))}, int{half});
    CHECK_EQ(int{f32_to_f16(std::nextafter(middle, next))}, half + 1);
  }
  CHECK_EQ(int{f32_to_f16(65519.996f)}, 0x7bff);
  CHECK_EQ(int{f32_to_f16(65520.0f)}, 0x7c00);
  CHECK_EQ(int{f32_to_f16(std::numeric_limits<float>::max())}, 0x7c00);
  CHECK_EQ(int{f32_to_f16(-1e-30f)}, 0x8000);
}

TEST("F16, BF16 and F32 weights decode exactly from odd addresses") {
  const uint8_t bytes[] = {0, 0x00, 0x3c, 0x00, 0xc0, 0x80, 0x3f, 0x20, 0xc1};
  float out[4] = {};
  decode_blocks(Format::kF16, bytes + 1, 2, out);
  CHECK_EQ(out[0], 1.0f);
  CHECK_EQ(out[1], -2.0f);
  decode_blocks(Format::kBF16, bytes + 5, 2, out);
  CHECK_EQ(out[0], 1.0f);
  CHECK_EQ(out[1], -10.0f);
  decode_blocks(Format::kF32, bytes + 5, 1, out);
  CHECK_EQ(out[0], float_from_bits(0xc1203f80));
}

namespace {

// Values as they are read again.
std::vector<float> encoded(Format format, const std::vector<float>& values,
                           std::vector<uint8_t>* bytes = nullptr) {
  const FormatInfo& info = format_info(format);
  const auto blocks = static_cast<int64_t>(values.size()) / info.block_values;
  std::vector<uint8_t> out(static_cast<size_t>(blocks * info.block_bytes) + 1, 0xa5);
  encode_blocks(format, values.data(), blocks, out.data());
  CHECK_EQ(int{out.back()}, 0xa5);
  std::vector<float> decoded(values.size());
  decode_blocks(format, out.data(), blocks, decoded.data());
  if (bytes) *bytes = out;
  return decoded;
}

}  // namespace

TEST("weights are written in floats, Q4_0 and Q8_0 alone") {
  for (int i = 0; i < kFormatCount; ++i) {
    const Format format = static_cast<Format>(i);
    const bool written = is_float(format) || format == Format::kQ4_0 || format == Format::kQ8_0;
    CHECK_EQ(can_encode(format), written);
  }
}

TEST("written floats are the nearest, ties to even") {
  const std::vector<float> values = {0, -1.5f, 3.14159265f, 1e-30f, 65504, -0.1f};
  CHECK(encoded(Format::kF32, values) == values);
  const std::vector<float> half = encoded(Format::kF16, values);
  for (size_t i = 0; i < values.size(); ++i) {
    CHECK_EQ(half[i], f16_to_f32(f32_to_f16(values[i])));
  }
  // BF16 keeps 8 bits: the places between are 1 / 128 apart above 1.
  const float step = 1.0f / 128;
  const std::vector<float> between = {1 + step / 2,         1 + 3 * step / 2,      1 + 0.49f * step,
                                      1 + 0.51f * step,     -(1 + step / 2),       1 + step,
                                      std::ldexp(1.f, 100), -std::ldexp(1.f, -100)};
  const std::vector<float> nearest = {1,  1 + 2 * step, 1,          1 + step,
                                      -1, 1 + step,     between[6], between[7]};
  CHECK(encoded(Format::kBF16, between) == nearest);
}

TEST("a block's largest value is an end of its integers, and the others are the nearest to them") {
  std::mt19937 random(21);
  std::normal_distribution<float> normal;
  for (const Format format : {Format::kQ4_0, Format::kQ8_0}) {
    const bool four_bits = format == Format::kQ4_0;
    for (int round = 0; round < 50; ++round) {
      std::vector<float> values(64);
      for (float& value : values) value = normal(random) * std::ldexp(1.0f, round % 9 - 4);
      std::vector<uint8_t> bytes;
      const std::vector<float> found = encoded(format, values, &bytes);
      for (size_t block = 0; block < 2; ++block) {
        const auto at = [&](size_t i) { return static_cast<size_t>(32 * block + i); };
        size_t largest = 0;
        for (size_t i = 0; i < 32; ++i) {
          if (std::fabs(values[at(i)]) > std::fabs(values[at(largest)])) largest = i;
        }
        uint16_t bits;
        std::memcpy(&bits, bytes.data() + block * (four_bits ? 18 : 34), sizeof bits);
        const double scale = f16_to_f32(bits);
        const double end = four_bits ? -8 : values[at(largest)] < 0 ? -127 : 127;
        // 11 bits of a scale.
        CHECK_NEAR(scale * end, values[at(largest)], std::fabs(values[at(largest)]) / 2048);
        CHECK_EQ(double{found[at(largest)]}, scale * end);
        for (size_t i = 0; i < 32; ++i) {
          // Of four bits the other end is 7, and what lies beyond becomes that.
          const double q = values[at(i)] / scale;
          CHECK_NEAR(found[at(i)] / scale, four_bits ? std::min(q, 7.0) : q, 0.5 + 1e-3);
        }
      }
    }
    const std::vector<float> zeros(32, 0.0f);
    CHECK(encoded(format, zeros) == zeros);
    // What f16 has no scale for is nothing, and written as such.
    std::vector<uint8_t> tiny, none;
    encoded(format, std::vector<float>(32, 1e-30f), &tiny);
    encoded(format, zeros, &none);
    const auto integers = [](const std::vector<uint8_t>& bytes) {
      return std::vector<uint8_t>(bytes.begin() + 2, bytes.end());
    };
    CHECK(integers(tiny) == integers(none));
  }
}

TEST("what a format has is written as it is") {
  std::vector<float> values(32);
  for (int i = 0; i < 32; ++i)
    values[static_cast<size_t>(i)] = 0.25f * static_cast<float>(i % 16 - 8);
  CHECK(encoded(Format::kQ4_0, values) == values);
  for (int i = 0; i < 32; ++i)
    values[static_cast<size_t>(i)] = 0.5f * static_cast<float>(i * 8 - 127);
  CHECK(encoded(Format::kQ8_0, values) == values);
}
