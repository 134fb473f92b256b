// The machine's limits: int8 operations without memory, and reads without arithmetic. What speeds
// are compared with.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tramontane {

// Keeps the compiler from leaving out what made `value`.
void keep(uint64_t value);

// Reads memory once, with the widest loads that the processor has; returns the exclusive or of its
// 64-bit words, but for those of the last 255 bytes, which may be left out.
uint64_t read_all(const uint8_t* data, size_t bytes);

// Operations (two a multiply-add) per second of the better of the register-only loops of the
// instruction set, over about 20 ms. 0 where there is no such loop, or the processor lacks what the
// loops need.
double int8_peak();

}  // namespace tramontane
