// Tensor core operations and asynchronous copies for the emulator, with the register layouts of
// the PTX ISA ("Matrix fragments"): lane = 4 * group + t. Words of A hold rows `group` and
// `group + 8`, words of B column `group`, C has rows `group` and `group + 8`, columns 2t and 2t
// + 1.
#pragma once

#include <cstdint>
#include <cstring>

#include "emulation/language.h"

namespace emulation {

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);

// Finish the product of an M x K by a K x 8 matrix, of int8 or f16: words are A's, then B's.
void multiply_s8_m16k32(Meeting* meeting);
void multiply_s8_m16k16(Meeting* meeting);
void multiply_s8_m8k16(Meeting* meeting);
void multiply_f16_m16k16(Meeting* meeting);
void multiply_f16_m16k8(Meeting* meeting);

// C += A * B.
template <class Sum, int kC, int kA, int kB>
void multiply_add(Sum (&c)[kC], const uint32_t (&a)[kA], const uint32_t (&b)[kB],
                  void (*finish)(Meeting*), Site site) {
  uint32_t words[kA + kB];
  std::memcpy(words, a, sizeof a);
  std::memcpy(words + kA, b, sizeof b);
  Meeting* m = meet(~0u, WarpOperation::kMultiply, words, kA + kB, finish, site);
  for (int i = 0; i < kC; ++i) {
    Sum product;
    std::memcpy(&product, &m->results[running->lane][i], sizeof product);
    c[i] += product;
  }
  leave(m);
}

// kMatrices 8x8 matrices of 16-bit values; lane 8 * i + r names row r of matrix i.
template <int kMatrices, bool kTransposed>
void load_matrix(uint32_t (&to)[kMatrices], const void* row, Site site) {
  if (reinterpret_cast<uintptr_t>(row) % 16) report("ldmatrix: a row is not aligned to 16", site);
  uint32_t words[2];
  std::memcpy(words, &row, sizeof row);
  Meeting* m = meet(~0u, WarpOperation::kLoadMatrix, words, 2, nullptr, site);
  const int group = running->lane >> 2, t = running->lane & 3;
  const auto value = [&](int matrix, int r, int column) {
    const char* address;
    std::memcpy(&address, m->words[8 * matrix + r], sizeof address);
    return uint32_t{*reinterpret_cast<const uint16_t*>(address + 2 * column)};
  };
  for (int i = 0; i < kMatrices; ++i) {
    to[i] = kTransposed ? value(i, 2 * t, group) | value(i, 2 * t + 1, group) << 16
                        : value(i, group, 2 * t) | value(i, group, 2 * t + 1) << 16;
  }
  leave(m);
}

// Words, so that the sanitizers see the copy where it happens.
inline void copy_now(const AsyncCopy& copy) {
  for (int i = 0; i < copy.bytes; i += 4) {
    *reinterpret_cast<uint32_t*>(copy.to + i) =
        i < copy.valid ? *reinterpret_cast<const uint32_t*>(copy.from + i) : 0u;
  }
}

// A copy may land at once, which shows writes over what is still read, or as late as its wait
// allows, which shows missing waits: drawn for each block.
inline void copy_async(void* to, const void* from, int bytes, bool valid, Site site) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) %
      static_cast<unsigned>(bytes)) {
    report("cp.async: not aligned", site);
  }
  const AsyncCopy copy = {static_cast<char*>(to), static_cast<const char*>(from), bytes,
                          valid ? bytes : 0, 0};
  if (running->copies_land_early) {
    copy_now(copy);
  } else {
    // Until it lands the destination is anybody's guess.
    std::memset(to, 0xFF, static_cast<size_t>(bytes));
    push_copy(copy);
  }
}

inline void wait_copies(int keep) {
  AsyncCopy copy;
  while (pop_copy(keep, &copy)) copy_now(copy);
}

}  // namespace emulation
