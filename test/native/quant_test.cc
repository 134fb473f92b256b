#include <cstring>
#include <limits>

#include "base/half.h"
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
